// What a hostile program inside a container tries; run by Tests/IntegrationTests/Security. Prints one line a try: `name result`.
// Result is the error's number, `ok` when the call was let through, `killed N` when a signal ended the child that tried.
// Built statically, so that it runs in any root file system. Refuses to run outside a user namespace: on a host these calls would work.
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/personality.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static void say(const char *name, long result) {
  if (result < 0) printf("%s %d\n", name, errno);
  else printf("%s ok\n", name);
  fflush(stdout);
}

// Runs one call in a child, because some of them don't return.
static void try_call(const char *name, long number, long a, long b, long c, long d, long e, long f) {
  fflush(stdout);
  pid_t child = fork();
  if (child == 0) {
    alarm(2);
    errno = 0;
    say(name, syscall(number, a, b, c, d, e, f));
    _exit(0);
  }
  int status = 0;
  waitpid(child, &status, 0);
  if (WIFSIGNALED(status)) printf("%s killed %d\n", name, WTERMSIG(status));
  fflush(stdout);
}

#define TRY(name, ...) try_call(#name, SYS_##name, __VA_ARGS__)

static void known_calls(void) {
  char buffer[4096] = {0};
  TRY(io_uring_setup, 8, (long)buffer, 0, 0, 0, 0);
  TRY(userfaultfd, 0, 0, 0, 0, 0, 0);
  TRY(bpf, 0, (long)buffer, 64, 0, 0, 0);
  TRY(perf_event_open, (long)buffer, 0, -1, -1, 0, 0);
  TRY(kexec_load, 0, 0, 0, 0, 0, 0);
  TRY(kexec_file_load, -1, -1, 0, 0, 0, 0);
  TRY(init_module, (long)buffer, 0, (long)"", 0, 0, 0);
  TRY(finit_module, -1, (long)"", 0, 0, 0, 0);
  TRY(delete_module, (long)"x", 0, 0, 0, 0, 0);
  TRY(open_by_handle_at, AT_FDCWD, (long)buffer, 0, 0, 0, 0);
  TRY(mount, (long)"none", (long)"/tmp", (long)"tmpfs", 0, 0, 0);
  TRY(umount2, (long)"/proc", MNT_DETACH, 0, 0, 0, 0);
  TRY(move_mount, AT_FDCWD, (long)"/proc", AT_FDCWD, (long)"/tmp", 0, 0);
  TRY(fsopen, (long)"tmpfs", 0, 0, 0, 0, 0);
  TRY(fsmount, -1, 0, 0, 0, 0, 0);
  TRY(open_tree, AT_FDCWD, (long)"/", 1, 0, 0, 0);
  TRY(mount_setattr, AT_FDCWD, (long)"/", 0, (long)buffer, 32, 0);
  TRY(pivot_root, (long)"/", (long)"/tmp", 0, 0, 0, 0);
  TRY(setns, -1, 0, 0, 0, 0, 0);
  TRY(unshare, CLONE_NEWUSER, 0, 0, 0, 0, 0);
  TRY(quotactl, 0, 0, 0, 0, 0, 0);
  TRY(swapon, (long)"/x", 0, 0, 0, 0, 0);
  TRY(swapoff, (long)"/x", 0, 0, 0, 0, 0);
  TRY(reboot, 0xfee1dead, 672274793, 0, 0, 0, 0);
  TRY(keyctl, 0, -3, 0, 0, 0, 0);
  TRY(add_key, (long)"user", (long)"x", (long)"y", 1, -3, 0);
  TRY(request_key, (long)"user", (long)"x", 0, 0, 0, 0);
  TRY(syslog, 3, (long)buffer, 100, 0, 0, 0);
  TRY(pidfd_getfd, -1, 0, 0, 0, 0, 0);
  TRY(kcmp, 1, 1, 0, 0, 0, 0);
  TRY(acct, 0, 0, 0, 0, 0, 0);
  TRY(settimeofday, -1, 0, 0, 0, 0, 0);
  TRY(clock_settime, 0, -1, 0, 0, 0, 0);
  TRY(sethostname, -1, 1, 0, 0, 0, 0);
  TRY(iopl, 3, 0, 0, 0, 0, 0);
  TRY(ioperm, 0, 1, 1, 0, 0, 0);
  TRY(lookup_dcookie, 0, (long)buffer, 10, 0, 0, 0);
  TRY(fanotify_init, 0, 0, 0, 0, 0, 0);
  TRY(clone3, (long)buffer, 88, 0, 0, 0, 0);
  try_call("clone-newuser", SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0, 0);
  try_call("clone-newnet", SYS_clone, CLONE_NEWNET | SIGCHLD, 0, 0, 0, 0, 0);
  try_call("personality-no-randomize", SYS_personality, 0x0040000, 0, 0, 0, 0, 0);
  try_call("socket-alg", SYS_socket, 38, SOCK_SEQPACKET, 0, 0, 0, 0);
  try_call("socket-vsock", SYS_socket, 40, SOCK_STREAM, 0, 0, 0, 0);
  try_call("socket-packet", SYS_socket, 17, SOCK_RAW, 0, 0, 0, 0);
  try_call("socket-raw", SYS_socket, AF_INET, SOCK_RAW, 1, 0, 0, 0);
  try_call("socket-xfrm", SYS_socket, AF_NETLINK, SOCK_RAW, NETLINK_XFRM, 0, 0, 0);
  try_call("socket-nfnetlink", SYS_socket, AF_NETLINK, SOCK_RAW, NETLINK_NETFILTER, 0, 0, 0);
  try_call("socket-route", SYS_socket, AF_NETLINK, SOCK_RAW, NETLINK_ROUTE, 0, 0, 0);
  try_call("mknod-sda", SYS_mknod, (long)"/tmp/sda", S_IFBLK | 0600, makedev(8, 0), 0, 0, 0);
  try_call("mknod-vda", SYS_mknod, (long)"/tmp/vda", S_IFBLK | 0600, makedev(254, 0), 0, 0, 0);
  try_call("mknod-mem", SYS_mknod, (long)"/tmp/mem", S_IFCHR | 0600, makedev(1, 1), 0, 0, 0);
  try_call("x32-getpid", 0x40000000 + 39, 0, 0, 0, 0, 0, 0);
}

#ifdef __x86_64__
static void old_abi(void) {
  fflush(stdout);
  pid_t child = fork();
  if (child == 0) {
    long result = 20;  // getpid of i386
    __asm__ volatile("int $0x80" : "+a"(result) : : "memory", "r8", "r9", "r10", "r11");
    printf("i386-getpid ok\n");
    fflush(stdout);
    _exit(0);
  }
  int status = 0;
  waitpid(child, &status, 0);
  if (WIFSIGNALED(status)) printf("i386-getpid killed %d\n", WTERMSIG(status));
}
#else
static void old_abi(void) { printf("i386-getpid killed 31\n"); }
#endif

// Each number with arguments that no call does anything with.
static void every_number(long last) {
  for (long number = 0; number <= last; number++) {
#ifdef __x86_64__
    // sync, syncfs: of the whole machine. vhangup, rt_sigreturn, exit: nothing to see.
    if (number == 162 || number == 306 || number == 15 || number == 60 || number == 231 || number == 34) continue;
#endif
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
      int null = open("/dev/null", O_RDWR);
      dup2(null, 2);
      struct itimerval { struct timeval a, b; } soon = {{0, 0}, {0, 200000}};
      syscall(SYS_setitimer, 0, &soon, 0);
      errno = 0;
      long result = syscall(number, -1L, -1L, -1L, -1L, -1L, -1L);
      int error = errno;
      if (getpid() == 1) _exit(0);
      if (result < 0) printf("%ld %d\n", number, error);
      else printf("%ld ok\n", number);
      fflush(stdout);
      _exit(0);
    }
    int status = 0;
    waitpid(child, &status, __WALL);
    if (WIFSIGNALED(status)) printf("%ld killed %d\n", number, WTERMSIG(status));
  }
}

static void try_open(const char *path, int flags) {
  char name[512];
  snprintf(name, sizeof name, "%s%s", flags == O_RDONLY ? "read:" : "write:", path);
  int fd = open(path, flags | O_CLOEXEC | O_NONBLOCK);
  if (fd >= 0 && flags == O_RDONLY) {
    char byte[64];
    ssize_t got = read(fd, byte, sizeof byte);
    DIR *folder = got < 0 && errno == EISDIR ? fdopendir(dup(fd)) : 0;
    if (folder) {
      int entries = 0;
      struct dirent *entry;
      while ((entry = readdir(folder))) entries += entry->d_name[0] != '.';
      printf("%s %s\n", name, entries ? "ok" : "empty");
    } else if (got < 0) say(name, -1);
    else printf("%s %s\n", name, got ? "ok" : "empty");
  } else say(name, fd);
  if (fd >= 0) close(fd);
}

static void files(char **paths, int flags) {
  for (; *paths; paths++) try_open(*paths, flags);
}

static void abstract_socket(const char *name) {
  int fd = socket(AF_UNIX, SOCK_STREAM, 0);
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  strncpy(address.sun_path + 1, name, sizeof address.sun_path - 2);
  say("abstract", connect(fd, (struct sockaddr *)&address, offsetof(struct sockaddr_un, sun_path) + 1 + strlen(name)));
}

static void type_into_terminal(void) {
  char byte = 'x';
  say("tiocsti", ioctl(0, TIOCSTI, &byte));
  say("tiocsti-upper-bits", syscall(SYS_ioctl, 0, 0x100000000L | TIOCSTI, &byte));
  char subcode = 3;
  say("tioclinux", ioctl(0, TIOCLINUX, &subcode));
}

// Changes the places of two names until /tmp/stop is there: whoever resolves them meets one or the other, at every instant.
static void swap(const char *one, const char *other) {
  unsigned long rounds = 0;
  do {
    for (int index = 0; index < 1000; index++, rounds++) {
      if (syscall(SYS_renameat2, AT_FDCWD, one, AT_FDCWD, other, 2 /* RENAME_EXCHANGE */) < 0) {
        say("swap", -1);
        return;
      }
      if (rounds == 0) say("swapping", 0);
    }
  } while (access("/tmp/stop", F_OK) != 0);
  printf("swapped %lu\n", rounds);
}

// Looks for a key of the host's: by the session it may have inherited, by name, by its number.
static void keys(long serial, const char *name) {
  char text[256] = {0};
  enum { DESCRIBE = 6, SEARCH = 10, READ = 11, LINK = 8, SESSION = -3, USER_SESSION = -5, USER = -4 };
  say("search-session", syscall(SYS_keyctl, SEARCH, SESSION, "user", name, 0));
  say("search-user", syscall(SYS_keyctl, SEARCH, USER, "user", name, 0));
  say("search-user-session", syscall(SYS_keyctl, SEARCH, USER_SESSION, "user", name, 0));
  say("request", syscall(SYS_request_key, "user", name, 0, 0));
  say("read", syscall(SYS_keyctl, READ, serial, text, sizeof text));
  say("describe", syscall(SYS_keyctl, DESCRIBE, serial, text, sizeof text));
  say("link", syscall(SYS_keyctl, LINK, serial, SESSION));
  // A keyring of its own there is, so that the refusals above are no lack of keys altogether.
  say("own", syscall(SYS_add_key, "user", "mine", "x", 1, SESSION));
}

// Writes past a mapping's protection, which copies the page: what is on disk must stay (the bug was that it didn't: Dirty COW).
static void write_mapping(const char *path) {
  // For writing where that is let: a descriptor for reading alone would refuse by itself what is tried below.
  int fd = open(path, O_RDWR | O_CLOEXEC);
  if (fd < 0) fd = open(path, O_RDONLY | O_CLOEXEC);
  char *page = fd < 0 ? MAP_FAILED : mmap(0, 4096, PROT_READ, MAP_PRIVATE, fd, 0);
  int memory = open("/proc/self/mem", O_RDWR | O_CLOEXEC);
  if (page == MAP_FAILED || memory < 0) { say("mapping", -1); return; }
  say("private", pwrite(memory, "attacked", 8, (off_t)(unsigned long)page));
  char *shared = mmap(0, 4096, PROT_READ, MAP_SHARED, fd, 0);
  say("shared", pwrite(memory, "attacked", 8, (off_t)(unsigned long)shared));
  char *writable = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  say("shared-writable", (long)writable);
  if (writable != MAP_FAILED) memcpy(writable, "attacked", 8);
  say("mprotect", mprotect(shared, 4096, PROT_READ | PROT_WRITE));
}

// Looks, until /tmp/stop is there or some seconds have passed, at every process that comes by: whose executable can be written, whose files lead out, who can be traced.
static void watch(int seconds) {
  time_t end = time(0) + seconds;
  int seen = 0, last = 0, others = 0;
  while (time(0) < end && access("/tmp/stop", F_OK) != 0) {
    DIR *processes = opendir("/proc");
    struct dirent *entry;
    while (processes && (entry = readdir(processes))) {
      int pid = atoi(entry->d_name);
      if (pid <= 0 || pid == getpid()) continue;
      if (pid > last) { last = pid; others++; }
      char path[600], target[512];
      snprintf(path, sizeof path, "/proc/%d/exe", pid);
      ssize_t length = readlink(path, target, sizeof target - 1);
      if (length > 0) target[length] = 0;
      if (length > 0 && strstr(target, "lunette")) {
        seen = 1;
        int fd = open(path, O_WRONLY | O_CLOEXEC);
        if (fd >= 0) { printf("WRITABLE %d %s\n", pid, target); close(fd); }
      }
      snprintf(path, sizeof path, "/proc/%d/fd", pid);
      DIR *files = opendir(path);
      struct dirent *file;
      while (files && (file = readdir(files))) {
        if (file->d_name[0] == '.') continue;
        snprintf(path, sizeof path, "/proc/%d/fd/%s", pid, file->d_name);
        length = readlink(path, target, sizeof target - 1);
        if (length < 0) continue;
        target[length] = 0;
        struct stat status;
        if (stat(path, &status) == 0 && S_ISDIR(status.st_mode) && strncmp(target, "/proc", 5) != 0) printf("FOLDER %d %s\n", pid, target);
      }
      if (files) closedir(files);
      if (length > 0 && seen && ptrace(PTRACE_SEIZE, pid, 0, 0) == 0) {
        // Stopped or ended: only then it can be let go, and its end is its parent's again.
        ptrace(PTRACE_INTERRUPT, pid, 0, 0);
        int status = 0;
        waitpid(pid, &status, __WALL);
        snprintf(path, sizeof path, "/proc/%d/exe", pid);
        length = readlink(path, target, sizeof target - 1);
        if (length > 0) target[length] = 0;
        if (length > 0 && strstr(target, "lunette")) printf("TRACED %d %s\n", pid, target);
        ptrace(PTRACE_DETACH, pid, 0, 0);
      }
    }
    if (processes) closedir(processes);
  }
  printf("watched %d\n", others);
}

static void open_files(void) {
  DIR *folder = opendir("/proc/self/fd");
  struct dirent *entry;
  while ((entry = readdir(folder))) {
    if (entry->d_name[0] == '.' || atoi(entry->d_name) == dirfd(folder)) continue;
    char path[300], target[512];
    snprintf(path, sizeof path, "/proc/self/fd/%s", entry->d_name);
    ssize_t length = readlink(path, target, sizeof target - 1);
    target[length > 0 ? length : 0] = 0;
    printf("%s %s\n", entry->d_name, target);
  }
}

// Takes as many of a thing as there are, and holds them.
static void exhaust(const char *what) {
  long count = 0;
  for (;; count++) {
    int result = -1;
    if (!strcmp(what, "descriptors")) result = open("/dev/null", O_RDONLY | O_CLOEXEC);
    else if (!strcmp(what, "inotify")) result = inotify_init1(IN_CLOEXEC);
    else errno = EINVAL;
    if (result < 0 || count == 10000000) break;
  }
  printf("%s %ld\n", what, count);
  fflush(stdout);
  sleep(60);
}

static void zombies(int count) {
  for (int index = 0; index < count; index++)
    if (fork() == 0) { if (fork() == 0) _exit(0); _exit(0); }
  printf("done\n");
  fflush(stdout);
  sleep(30);
}

static int is_contained(void) {
  char map[256] = {0};
  int fd = open("/proc/self/uid_map", O_RDONLY | O_CLOEXEC);
  ssize_t length = fd < 0 ? -1 : read(fd, map, sizeof map - 1);
  if (fd >= 0) close(fd);
  unsigned inside, outside, size;
  // The first user namespace maps every id to itself; below an ordinary user's engine 0 is that namespace's 0.
  return length > 0 && sscanf(map, "%u %u %u", &inside, &outside, &size) == 3 && size < 4294967295u;
}

/* Folders within folders, deeper than any path reaches, a file in the last. */
static void deep(const char *name, int levels) {
  int made = 0;
  while (made < levels && !mkdir(name, 0755) && !chdir(name)) {
    made++;
    name = "d";
  }
  int file = open("file", O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
  printf("deep %d %d\n", made, file >= 0);
}

int main(int argc, char **argv) {
  if (!is_contained()) {
    fprintf(stderr, "attack: refused: this is not a container with a user namespace\n");
    return 3;
  }
  setvbuf(stdout, 0, _IOLBF, 0);
  const char *what = argc > 1 ? argv[1] : "";
  if (!strcmp(what, "calls")) { known_calls(); old_abi(); }
  else if (!strcmp(what, "numbers")) every_number(atol(argv[2]));
  else if (!strcmp(what, "read")) files(argv + 2, O_RDONLY);
  else if (!strcmp(what, "write")) files(argv + 2, O_WRONLY);
  else if (!strcmp(what, "abstract")) abstract_socket(argv[2]);
  else if (!strcmp(what, "terminal")) type_into_terminal();
  else if (!strcmp(what, "watch")) watch(atoi(argv[2]));
  else if (!strcmp(what, "files")) open_files();
  else if (!strcmp(what, "swap")) swap(argv[2], argv[3]);
  else if (!strcmp(what, "keys")) keys(atol(argv[2]), argv[3]);
  else if (!strcmp(what, "mapping")) write_mapping(argv[2]);
  else if (!strcmp(what, "exhaust")) exhaust(argv[2]);
  else if (!strcmp(what, "deep")) deep(argv[2], atoi(argv[3]));
  else if (!strcmp(what, "zombies")) zombies(atoi(argv[2]));
  else if (!strcmp(what, "ids")) printf("%d %d %d %d\n", getuid(), geteuid(), getgid(), getegid());
  else if (!strcmp(what, "mount")) say("mount", mount(argv[2], argv[3], argv[4], strtoul(argv[5], 0, 0), argc > 6 ? argv[6] : 0));
  else if (!strcmp(what, "umount")) say("umount", umount2(argv[2], MNT_DETACH));
  else if (!strcmp(what, "fork-bomb")) { for (;;) if (fork() < 0) usleep(1000); }
  else return 2;
  return 0;
}
