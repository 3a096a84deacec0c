// Tries one access each and says what became of it: "ok", or the errno. Harmless where it runs, inside and outside: it touches only what it
// is told to.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

static void say(const char *name, long result) {
  if (result < 0) printf("%s %d\n", name, errno);
  else printf("%s ok\n", name);
  fflush(stdout);
}

static long opened(const char *path, int flags) {
  int fd = open(path, flags | O_CLOEXEC | O_NONBLOCK, 0600);
  if (fd >= 0) close(fd);
  return fd;
}

static long control(const char *path) {
  struct termios modes;
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return -1;
  // No terminal is no refusal.
  long result = ioctl(fd, TCGETS, &modes);
  if (result < 0 && errno == ENOTTY) result = 0;
  close(fd);
  return result;
}

static long execute(const char *path) {
  fflush(stdout);
  pid_t child = fork();
  if (child == 0) {
    execl(path, path, (char *)0);
    _exit(100 + (errno == EACCES ? 1 : errno == EPERM ? 2 : 3));
  }
  int status = 0;
  waitpid(child, &status, 0);
  int code = WEXITSTATUS(status);
  errno = code == 101 ? EACCES : code == 102 ? EPERM : ENOENT;
  return code > 100 ? -1 : 0;
}

static long tcp(int port, int binds) {
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
  long result = binds ? bind(fd, (struct sockaddr *)&address, sizeof address) : connect(fd, (struct sockaddr *)&address, sizeof address);
  // Nobody listening is no refusal of the kind that is looked for.
  if (!binds && result < 0 && errno == ECONNREFUSED) result = 0;
  close(fd);
  return result;
}

// One datagram by each call that takes an address, to ports one after the other; one without address.
static long udp(const char *host, int port) {
  int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), both[2];
  struct sockaddr_in address = {.sin_family = AF_INET};
  inet_pton(AF_INET, host, &address.sin_addr);
  char byte = 'x';
  struct iovec part = {&byte, 1};
  struct mmsghdr message = {.msg_hdr = {.msg_name = &address, .msg_namelen = sizeof address, .msg_iov = &part, .msg_iovlen = 1}};
  address.sin_port = htons((uint16_t)port);
  long result = sendto(fd, &byte, 1, 0, (struct sockaddr *)&address, sizeof address);
  address.sin_port = htons((uint16_t)(port + 1));
  result = sendmsg(fd, &message.msg_hdr, 0) < 0 ? -1 : result;
  address.sin_port = htons((uint16_t)(port + 2));
  result = sendmmsg(fd, &message, 1, 0) < 0 ? -1 : result;
  int error = errno;
  struct msghdr bare = {.msg_iov = &part, .msg_iovlen = 1};
  if (socketpair(AF_UNIX, SOCK_DGRAM, 0, both) < 0 || send(both[0], &byte, 1, 0) != 1 || sendmsg(both[0], &bare, 0) != 1) return -1;
  errno = error;
  return result < 0 ? -1 : 0;
}

static long abstract(const char *name, int listens) {
  int fd = socket(AF_UNIX, SOCK_STREAM, 0);
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  strncpy(address.sun_path + 1, name, sizeof address.sun_path - 2);
  socklen_t size = offsetof(struct sockaddr_un, sun_path) + 1 + strlen(name);
  if (!listens) return connect(fd, (struct sockaddr *)&address, size);
  if (bind(fd, (struct sockaddr *)&address, size) < 0 || listen(fd, 8) < 0) return -1;
  say("listening", 0);
  pause();
  return 0;
}

static long trace(pid_t pid) {
  long result = ptrace(PTRACE_ATTACH, pid, 0, 0);
  if (result == 0) {
    waitpid(pid, 0, 0);
    ptrace(PTRACE_DETACH, pid, 0, 0);
  }
  return result;
}

// Writes to a file until that isn't possible any more.
static void fill(const char *path) {
  static char block[1 << 20];
  long written = 0;
  int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
  while (fd >= 0 && write(fd, block, sizeof block) == (ssize_t)sizeof block) written++;
  printf("fill %ld MiB, %d\n", written, errno);
  if (fd >= 0) unlink(path), close(fd);
  fflush(stdout);
}

// Makes empty files until that isn't possible any more.
static void flood(const char *folder, long most) {
  char path[4096];
  long made = 0;
  for (; made < most; made++) {
    snprintf(path, sizeof path, "%s/%ld", folder, made);
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0) break;
    close(fd);
  }
  printf("flood %ld, %d\n", made, made == most ? 0 : errno);
  fflush(stdout);
}

// The memory of another process.
static long peek(pid_t pid) {
  char byte;
  struct iovec ours = {&byte, 1}, theirs = {(void *)&say, 1};
  return process_vm_readv(pid, &ours, 1, &theirs, 1, 0);
}

// Every descriptor that is open beside the three.
static void descriptors(void) {
  int count = 0;
  for (int fd = 3; fd < 4096; fd++) count += fcntl(fd, F_GETFD) >= 0;
  printf("descriptors %d\n", count);
}

int main(int argc, char **argv) {
  for (int at = 1; at < argc; at++) {
    const char *what = argv[at], *one = at + 1 < argc ? argv[at + 1] : "";
    if (!strcmp(what, "descriptors")) { descriptors(); continue; }
    if (!strcmp(what, "tiocsti")) { char byte = 'x'; say(what, ioctl(0, TIOCSTI, &byte)); continue; }
    if (!strcmp(what, "io_uring")) { char parameters[256] = {0}; say(what, syscall(425, 2, parameters)); continue; }
    // Answers by its exit code: nothing is left to write to.
    if (!strcmp(what, "close-all")) { syscall(SYS_close_range, 0u, ~0u, 0u); _exit(open("/dev/null", O_RDONLY) == 0 ? 42 : 43); }
    at++;
    if (!strcmp(what, "fill")) { fill(one); continue; }
    if (!strcmp(what, "flood")) { flood(one, atol(argv[++at])); continue; }
    if (!strcmp(what, "read")) say(what, opened(one, O_RDONLY));
    else if (!strcmp(what, "write")) say(what, opened(one, O_WRONLY));
    else if (!strcmp(what, "create")) say(what, opened(one, O_WRONLY | O_CREAT | O_EXCL));
    else if (!strcmp(what, "truncate")) say(what, truncate(one, 0));
    else if (!strcmp(what, "mkdir")) say(what, mkdir(one, 0700));
    else if (!strcmp(what, "ioctl")) say(what, control(one));
    else if (!strcmp(what, "exec")) say(what, execute(one));
    else if (!strcmp(what, "bind")) say(what, tcp(atoi(one), 1));
    else if (!strcmp(what, "connect")) say(what, tcp(atoi(one), 0));
    else if (!strcmp(what, "udp")) { say(what, udp(one, atoi(argv[at + 1]))); at++; }
    else if (!strcmp(what, "abstract")) say(what, abstract(one, 0));
    else if (!strcmp(what, "listen-abstract")) say(what, abstract(one, 1));
    else if (!strcmp(what, "signal")) say(what, kill(atoi(one), 0));
    else if (!strcmp(what, "kill")) say(what, kill(atoi(one), SIGKILL));
    else if (!strcmp(what, "peek")) say(what, peek(atoi(one)));
    else if (!strcmp(what, "trace")) say(what, trace(atoi(one)));
    else if (!strcmp(what, "rename")) { say(what, rename(one, argv[at + 1])); at++; }
    else if (!strcmp(what, "link")) { say(what, link(one, argv[at + 1])); at++; }
    else return 2;
  }
  return 0;
}
