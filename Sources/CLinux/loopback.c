#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "host_calls.h"

struct loopback_request {
  int process;
  uint16_t port;
  int timeout_milliseconds;
  int result;
};

static int connect_by(int family, uint16_t port, int timeout_milliseconds) {
  struct sockaddr_storage address = {.ss_family = (sa_family_t)family};
  socklen_t length;
  if (family == AF_INET) {
    struct sockaddr_in *four = (struct sockaddr_in *)&address;
    four->sin_port = htons(port);
    four->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    length = sizeof *four;
  } else {
    struct sockaddr_in6 *six = (struct sockaddr_in6 *)&address;
    six->sin6_port = htons(port);
    six->sin6_addr = in6addr_loopback;
    length = sizeof *six;
  }
  int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return -errno;
  int error = connect(fd, (struct sockaddr *)&address, length) < 0 ? errno : 0;
  if (error == EINPROGRESS) {
    struct pollfd entry = {.fd = fd, .events = POLLOUT};
    int ready = poll(&entry, 1, timeout_milliseconds);
    socklen_t size = sizeof error;
    if (ready == 0) error = ETIMEDOUT;
    else if (ready < 0 || getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0) error = errno;
  }
  if (error == 0) return fd;
  close(fd);
  return -error;
}

static void *run(void *argument) {
  struct loopback_request *request = argument;
  // The namespace is this thread's alone, and goes with it.
  if (setns(request->process, CLONE_NEWNET) < 0) {
    request->result = -errno;
    return NULL;
  }
  int result = connect_by(AF_INET, request->port, request->timeout_milliseconds);
  if (result == -ECONNREFUSED) {
    int six = connect_by(AF_INET6, request->port, request->timeout_milliseconds);
    // A container without IPv6 has told the reason by IPv4 already.
    if (six >= 0) result = six;
  }
  request->result = result;
  return NULL;
}

int lnt_host_connect_loopback(int process, uint16_t port, int timeout_milliseconds) {
  struct loopback_request request = {.process = process, .port = port, .timeout_milliseconds = timeout_milliseconds};
  // Signals are for the process's own threads, not for one that stands elsewhere.
  sigset_t all, before;
  sigfillset(&all);
  pthread_t thread;
  pthread_sigmask(SIG_SETMASK, &all, &before);
  int error = pthread_create(&thread, NULL, run, &request);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  if (error) return -error;
  pthread_join(thread, NULL);
  return request.result;
}
