#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <termios.h>
#include <unistd.h>

#include "clinux.h"

#define RESULT(call) ({ __typeof__(call) result_ = (call); result_ < 0 ? (__typeof__(call))-errno : result_; })

int lnt_socketpair(int type, int *both) { return RESULT(socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, both)); }

// The address of what a descriptor is open on, or of a name in the directory that it is open on: through /proc, because a path may be
// longer than a socket address.
static int address_through(int fd, const char *name, struct sockaddr_un *address) {
  // Written without printf, which would cost the shim memory.
  static const char prefix[] = "/proc/self/fd/";
  char digits[12];
  size_t count = 0, length = sizeof prefix - 1, size = name ? strlen(name) : 0;
  memset(address, 0, sizeof *address);
  address->sun_family = AF_UNIX;
  if (fd < 0) return -EBADF;
  do digits[count++] = (char)('0' + fd % 10);
  while ((fd /= 10) > 0);
  if (length + count + 1 + size >= sizeof address->sun_path) return -ENAMETOOLONG;
  memcpy(address->sun_path, prefix, length);
  while (count > 0) address->sun_path[length++] = digits[--count];
  if (!name) return 0;
  address->sun_path[length++] = '/';
  memcpy(address->sun_path + length, name, size);
  return 0;
}

int lnt_listen_at(int dir, const char *name, int backlog) {
  struct sockaddr_un address;
  int named = address_through(dir, name, &address);
  if (named < 0) return named;
  int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return -errno;
  mode_t before = umask(0177);
  int result = bind(fd, (struct sockaddr *)&address, sizeof address);
  int error = errno;
  umask(before);
  if (result < 0 || (listen(fd, backlog) < 0 && (error = errno, 1))) {
    close(fd);
    return -error;
  }
  return fd;
}

int lnt_connect_to(const char *path, int seconds) {
  struct sockaddr_un address;
  struct timeval patience = {.tv_sec = seconds};
  int there = open(path, O_PATH | O_CLOEXEC);
  if (there < 0) return -errno;
  int result = address_through(there, NULL, &address);
  int fd = result < 0 ? -1 : socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (result == 0 && (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience) < 0 ||
                      connect(fd, (struct sockaddr *)&address, sizeof address) < 0))
    result = -errno;
  close(there);
  if (result < 0 && fd >= 0) close(fd);
  return result < 0 ? result : fd;
}

int lnt_accept(int fd) { return RESULT(accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK)); }

ssize_t lnt_send(int fd, const void *data, size_t size, const int *fds, size_t count, int block) {
  union {
    struct cmsghdr align;
    char space[CMSG_SPACE(8 * sizeof(int))];
  } control;
  if (count > 8) return -E2BIG;
  struct iovec part = {(void *)(uintptr_t)data, size};
  struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
  if (count > 0) {
    memset(&control, 0, sizeof control);
    message.msg_control = &control;
    message.msg_controllen = CMSG_SPACE(count * sizeof(int));
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(count * sizeof(int));
    memcpy(CMSG_DATA(header), fds, count * sizeof(int));
  }
  ssize_t result;
  do result = sendmsg(fd, &message, MSG_NOSIGNAL | (block ? 0 : MSG_DONTWAIT) | (block == 2 ? MSG_CONFIRM : 0));
  while (result < 0 && errno == EINTR);
  return result < 0 ? -errno : result;
}

int lnt_receive(int fd, void *into, size_t size, struct lnt_received *out, int block) {
  union {
    struct cmsghdr align;
    char space[CMSG_SPACE(8 * sizeof(int)) + CMSG_SPACE(sizeof(struct ucred))];
  } control;
  struct iovec part = {into, size};
  struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
  memset(out, 0, sizeof *out);
  do out->size = recvmsg(fd, &message, MSG_CMSG_CLOEXEC | (block ? 0 : MSG_DONTWAIT));
  while (out->size < 0 && errno == EINTR);
  if (out->size < 0) return -errno;
  for (struct cmsghdr *header = CMSG_FIRSTHDR(&message); header; header = CMSG_NXTHDR(&message, header)) {
    if (header->cmsg_level != SOL_SOCKET) continue;
    if (header->cmsg_type == SCM_RIGHTS) {
      size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
      for (size_t index = 0; index < count; index++) {
        int received;
        memcpy(&received, CMSG_DATA(header) + index * sizeof(int), sizeof received);
        if (out->count < 8) out->fds[out->count++] = received;
        else close(received);
      }
    } else if (header->cmsg_type == SCM_CREDENTIALS) {
      struct ucred sender;
      memcpy(&sender, CMSG_DATA(header), sizeof sender);
      out->pid = sender.pid;
      out->uid = sender.uid;
      out->gid = sender.gid;
    }
  }
  int isCut = (message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0;
  // An empty packet reads as the end, and nobody looks for descriptors there.
  if (isCut || out->size == 0) {
    for (uint32_t index = 0; index < out->count; index++) close(out->fds[index]);
    out->count = 0;
  }
  if (isCut) return -EMSGSIZE;
  return 0;
}

int lnt_pass_credentials(int fd) {
  int on = 1;
  return RESULT(setsockopt(fd, SOL_SOCKET, SO_PASSCRED, &on, sizeof on));
}

int lnt_send_socket(int fd, const void *data, size_t size) {
  ssize_t result;
  do result = send(fd, data, size, MSG_NOSIGNAL | MSG_DONTWAIT);
  while (result < 0 && errno == EINTR);
  return result < 0 ? -errno : (int)result;
}

int lnt_raise_loopback(void) {
  int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return -errno;
  struct ifreq request = {.ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING};
  int result = RESULT(ioctl(fd, SIOCSIFFLAGS, &request));
  close(fd);
  return result;
}

int lnt_open_terminal_peer(int master) {
  int unlock = 0;
  if (ioctl(master, TIOCSPTLCK, &unlock) < 0) return -errno;
  return RESULT(ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC));
}

int lnt_set_terminal_size(int fd, unsigned rows, unsigned columns) {
  struct winsize size = {.ws_row = (unsigned short)rows, .ws_col = (unsigned short)columns};
  return RESULT(ioctl(fd, TIOCSWINSZ, &size));
}

int lnt_is_terminal(int fd) {
  struct winsize size;
  return ioctl(fd, TIOCGWINSZ, &size) == 0;
}

int lnt_make_controlling_terminal(int fd) { return RESULT(ioctl(fd, TIOCSCTTY, 0)); }

_Static_assert(sizeof(struct lnt_poll) == sizeof(struct pollfd), "lnt_poll is pollfd");
_Static_assert(LNT_IN == POLLIN && LNT_PRI == POLLPRI && LNT_OUT == POLLOUT && LNT_ERR == POLLERR && LNT_HUP == POLLHUP, "lnt_poll's events are poll's");

int lnt_wait_ready(struct lnt_poll *list, size_t count, int64_t milliseconds) {
  int result;
  do result = poll((struct pollfd *)list, count, (int)milliseconds);
  while (result < 0 && errno == EINTR);
  return result < 0 ? -errno : result;
}

int lnt_signalfd_all(void) {
  sigset_t all;
  sigfillset(&all);
  sigprocmask(SIG_SETMASK, &all, NULL);
  return RESULT(signalfd(-1, &all, SFD_CLOEXEC | SFD_NONBLOCK));
}

int lnt_next_signal(int fd) {
  struct signalfd_siginfo info;
  return read(fd, &info, sizeof info) == (ssize_t)sizeof info ? (int)info.ssi_signo : 0;
}

int lnt_kill(pid_t pid, int signal) { return RESULT(kill(pid, signal)); }

int lnt_watch_v1(int file, const char *control) {
  int events = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (events < 0) return -errno;
  int fd = open(control, O_WRONLY | O_CLOEXEC);
  if (fd < 0) {
    int error = errno;
    close(events);
    return -error;
  }
  char line[64];
  int size = snprintf(line, sizeof line, "%d %d", events, file);
  int result = write(fd, line, (size_t)size) == size ? events : -errno;
  if (result < 0) close(events);
  close(fd);
  return result;
}
