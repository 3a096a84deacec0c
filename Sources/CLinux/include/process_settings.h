// Calls that say how the kernel treats a process, and what a launch does with names: each returns >= 0 or -errno. No policy.
#pragma once
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct lnt_scheduling {
  uint32_t policy;
  int32_t nice;
  uint32_t priority;
  uint32_t zero;
  uint64_t flags;
  uint64_t runtime;  // ns, for SCHED_DEADLINE
  uint64_t deadline;
  uint64_t period;
};
int lnt_sched_setattr(pid_t pid, const struct lnt_scheduling *how);
int lnt_ioprio_set(pid_t pid, int value);
int lnt_set_affinity(pid_t pid, const void *mask, size_t size);
int lnt_personality(unsigned long domain);
int lnt_set_mempolicy(int mode, const void *mask, size_t bits);
int lnt_mknodat(int dir, const char *path, mode_t mode, unsigned major, unsigned minor);
int lnt_fchmodat(int dir, const char *path, mode_t mode);
int lnt_fchownat(int dir, const char *path, uid_t uid, gid_t gid, int flags);
// The end of a symbolic link, ended by NUL; its length.
ssize_t lnt_readlinkat(int dir, const char *path, char *into, size_t size);
// The next entry of an open folder into `name` (256 bytes); 0 = no more. *position starts at 0 and is the kernel's.
int lnt_next_entry(int dir, void *buffer, size_t size, size_t *filled, size_t *at, char *name);
// Copies up to `size` bytes between files where they stand; 0 = the end.
ssize_t lnt_copy_bytes(int from, int to, size_t size);
