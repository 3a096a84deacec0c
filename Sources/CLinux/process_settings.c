#include "process_settings.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/personality.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define RESULT(call) ({ __typeof__(call) result_ = (call); result_ < 0 ? -errno : result_; })

// linux/sched/types.h, which clashes with libc's sched.h.
struct scheduler_attributes {
  uint32_t size;
  uint32_t policy;
  uint64_t flags;
  int32_t nice;
  uint32_t priority;
  uint64_t runtime;
  uint64_t deadline;
  uint64_t period;
};

int lnt_sched_setattr(pid_t pid, const struct lnt_scheduling *how) {
  struct scheduler_attributes attributes = {
      .size = sizeof attributes, .policy = how->policy, .flags = how->flags, .nice = how->nice, .priority = how->priority,
      .runtime = how->runtime, .deadline = how->deadline, .period = how->period,
  };
  return (int)RESULT(syscall(SYS_sched_setattr, pid, &attributes, 0));
}

int lnt_ioprio_set(pid_t pid, int value) { return (int)RESULT(syscall(SYS_ioprio_set, 1 /* IOPRIO_WHO_PROCESS */, pid, value)); }
int lnt_set_affinity(pid_t pid, const void *mask, size_t size) { return (int)RESULT(syscall(SYS_sched_setaffinity, pid, size, mask)); }
int lnt_personality(unsigned long domain) { return RESULT(personality(domain)); }
int lnt_set_mempolicy(int mode, const void *mask, size_t bits) {
  // The kernel reads one bit less than it is told of (mm/mempolicy.c, get_nodes).
  return (int)RESULT(syscall(SYS_set_mempolicy, mode, bits ? mask : NULL, bits ? bits + 1 : 0));
}

int lnt_mknodat(int dir, const char *path, mode_t mode, unsigned major, unsigned minor) {
  return RESULT(mknodat(dir, path, mode, makedev(major, minor)));
}
int lnt_fchmodat(int dir, const char *path, mode_t mode) { return RESULT(fchmodat(dir, path, mode, 0)); }
int lnt_fchownat(int dir, const char *path, uid_t uid, gid_t gid, int flags) { return RESULT(fchownat(dir, path, uid, gid, flags)); }

ssize_t lnt_readlinkat(int dir, const char *path, char *into, size_t size) {
  ssize_t length = readlinkat(dir, path, into, size - 1);
  if (length < 0) return -errno;
  into[length] = 0;
  return length;
}

// linux/dirent.h's linux_dirent64, which no header of libc has.
struct entry {
  uint64_t inode;
  int64_t offset;
  uint16_t length;
  uint8_t type;
  char name[];
};

int lnt_next_entry(int dir, void *buffer, size_t size, size_t *filled, size_t *at, char *name) {
  for (;;) {
    if (*at >= *filled) {
      long count = syscall(SYS_getdents64, dir, buffer, size);
      if (count < 0) return -errno;
      if (count == 0) return 0;
      *filled = (size_t)count;
      *at = 0;
    }
    const struct entry *entry = (const struct entry *)((char *)buffer + *at);
    *at += entry->length;
    if (!strcmp(entry->name, ".") || !strcmp(entry->name, "..")) continue;
    size_t length = strlen(entry->name);
    if (length > 255) return -ENAMETOOLONG;
    memcpy(name, entry->name, length + 1);
    return 1;
  }
}

ssize_t lnt_copy_bytes(int from, int to, size_t size) { return RESULT(sendfile(to, from, NULL, size)); }
