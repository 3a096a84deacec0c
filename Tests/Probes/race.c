// The other side of a race, and its loser: `swap` exchanges two names as fast as the kernel can; `beat` does what a runtime does the naive way
// (look at a path, then use it by name) beside it, until the swap has led it to a canary. A test that runs its runtime under the same swap knows
// from that that the race can be won. `folders` looks for open folders of processes that come by.
//   race swap ONE OTHER STOP
//   race beat USE PLACE NAME CANARY ROUNDS SECONDS     USE: mkdir create read chdir exec sysctl; NAME lies below PLACE
//   race folders STOP
// Writes only below /tmp, /run/lunette-canary and a container's own folders.
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static int swap(const char *one, const char *other, const char *stop) {
  unsigned long rounds = 0;
  pid_t parent = getppid();
  do {
    // An even number: at the end each name is where it was.
    for (int index = 0; index < 1000; index++, rounds++) {
      if (syscall(SYS_renameat2, AT_FDCWD, one, AT_FDCWD, other, 2 /* RENAME_EXCHANGE */) < 0) {
        printf("swap %d\n", errno);
        return 1;
      }
      if (rounds == 0) printf("swapping ok\n");
    }
  } while (access(stop, F_OK) != 0 && getppid() == parent);
  printf("swapped %lu\n", rounds);
  return 0;
}

static char path[PATH_MAX], above[PATH_MAX];
static const char *place, *canary;

// What every runtime once thought to be enough: the folder lies inside, the last name is no link.
static int looks_harmless(void) {
  char real[PATH_MAX];
  struct stat status;
  if (!realpath(above, real) || strncmp(real, place, strlen(place)) != 0) return 0;
  int harmless = lstat(path, &status) < 0 ? errno == ENOENT : !S_ISLNK(status.st_mode);
  // Between looking and using lies work, in a runtime more than this; on a busy machine the swap would hardly get a turn in between.
  struct timespec pause = {0, 20000};
  nanosleep(&pause, 0);
  return harmless;
}

static int appeared(void) {
  struct stat status;
  if (lstat(canary, &status) < 0) return 0;
  if (S_ISDIR(status.st_mode)) rmdir(canary);
  else unlink(canary);
  return 1;
}

static int use(const char *how, const char *secret, size_t length) {
  if (!strcmp(how, "mkdir")) {
    if (mkdir(path, 0755) == 0) rmdir(path);
    return appeared();
  }
  if (!strcmp(how, "create")) {
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    if (fd >= 0) close(fd);
    return appeared();
  }
  if (!strcmp(how, "read")) {
    char text[256];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t got = fd < 0 ? -1 : read(fd, text, sizeof text);
    if (fd >= 0) close(fd);
    return got == (ssize_t)length && memcmp(text, secret, length) == 0;
  }
  if (!strcmp(how, "chdir")) {
    struct stat here, there;
    int reached = chdir(path) == 0 && stat(".", &here) == 0 && stat(canary, &there) == 0 && here.st_ino == there.st_ino &&
                  here.st_dev == there.st_dev;
    return chdir("/") == 0 && reached;
  }
  // exec: the program notes that it ran, as the canary.
  pid_t child = fork();
  if (child == 0) {
    execl(path, path, canary, (char *)0);
    _exit(127);
  }
  waitpid(child, 0, 0);
  return appeared();
}

// Mounts proc in namespaces of its own and writes a setting by name; what is reached is one of two plain files.
static int write_setting(int files[2]) {
  pid_t child = fork();
  if (child == 0) {
    char proc[PATH_MAX];
    snprintf(proc, sizeof proc, "%s/proc", place);
    if (unshare(CLONE_NEWNS | CLONE_NEWNET) < 0 || mount(0, "/", 0, MS_REC | MS_PRIVATE, 0) < 0) _exit(1);
    if (mount("proc", proc, "proc", 0, 0) < 0) _exit(1);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    _exit(fd < 0 || write(fd, "77", 2) != 2);
  }
  waitpid(child, 0, 0);
  int reached = 0;
  for (int index = 0; index < 2; index++) {
    char text[2] = "";
    if (pread(files[index], text, 2, 0) == 2 && memcmp(text, "77", 2) == 0 && pwrite(files[index], "un", 2, 0) == 2) reached = 1;
  }
  return reached;
}

static int beat(const char *how, const char *name, long rounds, double seconds) {
  char secret[256];
  ssize_t length = -1;
  int files[2] = {-1, -1};
  const char *allowed[] = {"/tmp/", "/run/lunette-canary/"};
  for (int index = 0; index < 2; index++) {
    const char *checked = index ? canary : place;
    if (strncmp(checked, allowed[0], strlen(allowed[0])) && strncmp(checked, allowed[1], strlen(allowed[1]))) {
      fprintf(stderr, "race: refused: %s is no temporary folder\n", checked);
      return 3;
    }
  }
  snprintf(path, sizeof path, "%s/%s", place, name);
  snprintf(above, sizeof above, "%s", path);
  *strrchr(above, '/') = 0;
  if (!strcmp(how, "read")) {
    int fd = open(canary, O_RDONLY | O_CLOEXEC);
    length = read(fd, secret, sizeof secret);
    if (length <= 0) return 1;
  }
  if (!strcmp(how, "sysctl")) {
    // The two change places meanwhile: until they are two.
    struct stat one, other;
    do {
      if (files[0] >= 0) { close(files[0]); close(files[1]); }
      files[0] = open(path, O_RDWR | O_CLOEXEC);
      files[1] = open(canary, O_RDWR | O_CLOEXEC);
      if (files[0] < 0 || files[1] < 0) return 1;
      fstat(files[0], &one);
      fstat(files[1], &other);
    } while (one.st_ino == other.st_ino);
  }
  struct timespec now, start;
  clock_gettime(CLOCK_MONOTONIC, &start);
  long done = 0, checked = 0, beaten = 0;
  for (;; done++) {
    clock_gettime(CLOCK_MONOTONIC, &now);
    double passed = (double)(now.tv_sec - start.tv_sec) + (double)(now.tv_nsec - start.tv_nsec) / 1e9;
    if (passed > seconds || (done >= rounds && beaten > 0)) break;
    if (!strcmp(how, "sysctl")) {
      checked++;
      beaten += write_setting(files);
    } else if (looks_harmless()) {
      checked++;
      beaten += use(how, secret, length < 0 ? 0 : (size_t)length);
    }
  }
  printf("rounds %ld\nchecked %ld\nbeaten %ld\n", done, checked, beaten);
  return 0;
}

static int folders(const char *stop) {
  printf("ready ok\n");
  while (access(stop, F_OK) != 0) {
    DIR *processes = opendir("/proc");
    struct dirent *process, *file;
    while (processes && (process = readdir(processes))) {
      int pid = atoi(process->d_name);
      if (pid <= 0 || pid == getpid()) continue;
      char name[300], target[512];
      snprintf(name, sizeof name, "/proc/%d/fd", pid);
      DIR *files = opendir(name);
      while (files && (file = readdir(files))) {
        if (file->d_name[0] == '.') continue;
        snprintf(name, sizeof name, "/proc/%d/fd/%s", pid, file->d_name);
        int fd = open(name, O_PATH | O_CLOEXEC);
        struct stat status;
        if (fd < 0) continue;
        // Asked of what is held: the number may be another file's by now.
        snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
        ssize_t size = fstat(fd, &status) == 0 && S_ISDIR(status.st_mode) ? readlink(name, target, sizeof target - 1) : -1;
        // The root is the container's own, /proc what these two look through.
        if (size > 1) {
          target[size] = 0;
          if (strncmp(target, "/proc", 5)) printf("FOLDER %s\n", target);
        }
        close(fd);
      }
      if (files) closedir(files);
    }
    if (processes) closedir(processes);
  }
  printf("looked ok\n");
  return 0;
}

int main(int argc, char **argv) {
  setvbuf(stdout, 0, _IOLBF, 0);
  if (argc == 5 && !strcmp(argv[1], "swap")) return swap(argv[2], argv[3], argv[4]);
  if (argc == 3 && !strcmp(argv[1], "folders")) return folders(argv[2]);
  if (argc == 8 && !strcmp(argv[1], "beat")) {
    place = argv[3];
    canary = argv[5];
    return beat(argv[2], argv[4], atol(argv[6]), atof(argv[7]));
  }
  return 2;
}
