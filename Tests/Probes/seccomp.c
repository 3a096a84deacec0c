// What becomes of system calls under a seccomp filter, asked from inside; and, outside, the program that answers notified ones.
//   seccomp call NUMBER [ARGUMENT…]    one call in a child: "NUMBER value V", "NUMBER errno E" or "NUMBER killed SIGNAL"
//   seccomp numbers FIRST LAST         the same for each number, with arguments that mean nothing
//   seccomp i386 NUMBER                through int 0x80
//   seccomp trap NUMBER                with a handler for SIGSYS: "trapped NUMBER"
//   seccomp thread NUMBER              in a second thread: "survived" when only that one ends
//   seccomp listen SOCKET NUMBER=ANSWER…   ANSWER: a value, -errno, or "continue"; says "ready", "state JSON", "notified NUMBER PID"
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static void answer(long number, long value, int error) {
  if (value < 0 && value >= -4095) printf("%ld errno %d\n", number, error);
  else printf("%ld value %ld\n", number, value);
  fflush(stdout);
}

static void in_child(long number, void (*body)(long, const long *), const long *arguments) {
  fflush(stdout);
  pid_t child = fork();
  if (child == 0) {
    body(number, arguments);
    _exit(0);
  }
  int status = 0;
  waitpid(child, &status, 0);
  if (WIFSIGNALED(status)) printf("%ld killed %d\n", number, WTERMSIG(status));
  fflush(stdout);
}

static void plain(long number, const long *a) {
  errno = 0;
  long result = syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
  answer(number, result < 0 ? -1 : result, errno);
}

static void meaningless(long number, const long *arguments) {
  int null = open("/dev/null", O_RDWR);
  dup2(null, 2);
  struct itimerval soon = {{0, 0}, {0, 200000}};
  syscall(SYS_setitimer, 0, &soon, 0);
  plain(number, arguments);
}

static void every_number(long first, long last) {
  static const long nothing[6] = {-1, -1, -1, -1, -1, -1};
  for (long number = first; number <= last; number++) {
#ifdef __x86_64__
    // sync, syncfs: of the whole machine. vhangup, rt_sigreturn, exit: nothing to see. 335, 336: the kernel lets them past every filter.
    if (number == 162 || number == 306 || number == 15 || number == 60 || number == 231 || number == 34) continue;
    if (number == 335 || number == 336) continue;
#endif
    in_child(number, meaningless, nothing);
  }
}

#ifdef __x86_64__
static void old(long number, const long *arguments) {
  (void)arguments;
  long result = number;
  __asm__ volatile("int $0x80" : "+a"(result) : "b"(0), "c"(0), "d"(0) : "memory", "r8", "r9", "r10", "r11");
  result = (int)result;
  answer(number, result, (int)-result);
}
#endif

static void trapped(int signal, siginfo_t *info, void *context) {
  (void)signal;
  (void)context;
  printf("trapped %d\n", info->si_syscall);
  fflush(stdout);
}

static void *thread(void *number) {
  syscall((long)number, 0, 0, 0, 0, 0, 0);
  return NULL;
}

// The state and its descriptor: one message a connection.
static int receive_state(int connection) {
  char text[65536];
  union { struct cmsghdr align; char space[CMSG_SPACE(sizeof(int))]; } control;
  struct iovec part = {text, sizeof text - 1};
  struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
  ssize_t size = recvmsg(connection, &message, MSG_CMSG_CLOEXEC);
  struct cmsghdr *header = CMSG_FIRSTHDR(&message);
  if (size <= 0 || !header || header->cmsg_type != SCM_RIGHTS) return -1;
  int fd;
  memcpy(&fd, CMSG_DATA(header), sizeof fd);
  for (ssize_t more; size < (ssize_t)sizeof text - 1 && (more = read(connection, text + size, sizeof text - 1 - (size_t)size)) > 0;) size += more;
  text[size] = 0;
  printf("state %s\n", text);
  fflush(stdout);
  return fd;
}

static void notified(int listener, char **answers) {
  struct seccomp_notif request = {0};
  struct seccomp_notif_resp response = {0};
  if (ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &request) < 0) return;
  printf("notified %d %u\n", request.data.nr, request.pid);
  fflush(stdout);
  response.id = request.id;
  response.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
  for (; *answers; answers++) {
    char *end;
    if (strtol(*answers, &end, 10) != request.data.nr || *end != '=') continue;
    if (!strcmp(end + 1, "continue")) continue;
    long value = strtol(end + 1, NULL, 10);
    response.flags = 0;
    if (value < 0) response.error = (int)value;
    else response.val = value;
  }
  ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &response);
}

static int listen_for(const char *path, char **answers) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  if (strlen(path) >= sizeof address.sun_path) return 2;
  strcpy(address.sun_path, path);
  struct pollfd polls[16] = {{.fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), .events = POLLIN}};
  nfds_t count = 1;
  if (bind(polls[0].fd, (struct sockaddr *)&address, sizeof address) < 0 || listen(polls[0].fd, 8) < 0) return 1;
  printf("ready\n");
  fflush(stdout);
  for (;;) {
    if (poll(polls, count, -1) < 0) return 1;
    if (polls[0].revents && count < 16) {
      int connection = accept4(polls[0].fd, NULL, NULL, SOCK_CLOEXEC);
      int listener = receive_state(connection);
      close(connection);
      if (listener >= 0) polls[count++] = (struct pollfd){.fd = listener, .events = POLLIN};
    }
    for (nfds_t index = 1; index < count; index++) {
      if (polls[index].revents & POLLIN) notified(polls[index].fd, answers);
      // Nobody is left whom the filter judges.
      else if (polls[index].revents) {
        printf("ended\n");
        fflush(stdout);
        close(polls[index].fd);
        polls[index--] = polls[--count];
      }
    }
  }
}

int main(int argc, char **argv) {
  if (argc < 3) return 2;
  long numbers[8] = {0};
  for (int index = 2; index < argc && index < 10; index++) numbers[index - 2] = strtol(argv[index], NULL, 0);
  if (!strcmp(argv[1], "call")) in_child(numbers[0], plain, numbers + 1);
  else if (!strcmp(argv[1], "numbers")) every_number(numbers[0], numbers[1]);
#ifdef __x86_64__
  else if (!strcmp(argv[1], "i386")) in_child(numbers[0], old, numbers);
#endif
  else if (!strcmp(argv[1], "trap")) {
    struct sigaction action = {.sa_sigaction = trapped, .sa_flags = SA_SIGINFO};
    sigaction(SIGSYS, &action, NULL);
    syscall(numbers[0], 0, 0, 0, 0, 0, 0);
  } else if (!strcmp(argv[1], "thread")) {
    pthread_t other;
    pthread_create(&other, NULL, thread, (void *)numbers[0]);
    usleep(100000);
    printf("survived\n");
  } else if (!strcmp(argv[1], "listen")) return listen_for(argv[2], argv + 3);
  else return 2;
  return 0;
}
