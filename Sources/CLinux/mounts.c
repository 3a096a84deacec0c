#include <errno.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "clinux.h"

// <sys/mount.h> and <linux/mount.h> can't both be included in Debian 12: the calls are made by number.
#define RESULT(call) ({ __typeof__(call) result_ = (call); result_ < 0 ? -errno : (int)result_; })

int lnt_open_tree(int dir, const char *path, unsigned flags) { return RESULT(syscall(SYS_open_tree, dir, path, flags | OPEN_TREE_CLOEXEC)); }

int lnt_move_mount(int from, const char *from_path, int to, const char *to_path, unsigned flags) {
  return RESULT(syscall(SYS_move_mount, from, from_path, to, to_path, flags));
}

int lnt_mount_setattr(int dir, const char *path, unsigned flags, uint64_t set, uint64_t clear, uint64_t propagation, int userns) {
  struct mount_attr attr = {.attr_set = set, .attr_clr = clear, .propagation = propagation};
  if (userns >= 0) {
    attr.attr_set |= MOUNT_ATTR_IDMAP;
    attr.userns_fd = (uint64_t)userns;
  }
  // Atime modes are a field, not bits: setting one needs the field cleared.
  if (set & MOUNT_ATTR__ATIME) attr.attr_clr |= MOUNT_ATTR__ATIME;
  return RESULT(syscall(SYS_mount_setattr, dir, path, flags, &attr, sizeof attr));
}

int lnt_fsopen(const char *type) { return RESULT(syscall(SYS_fsopen, type, FSOPEN_CLOEXEC)); }
int lnt_fsconfig_string(int fs, const char *key, const char *value) { return RESULT(syscall(SYS_fsconfig, fs, FSCONFIG_SET_STRING, key, value, 0)); }
int lnt_fsconfig_flag(int fs, const char *key) { return RESULT(syscall(SYS_fsconfig, fs, FSCONFIG_SET_FLAG, key, NULL, 0)); }
int lnt_fsconfig_fd(int fs, const char *key, int fd) { return RESULT(syscall(SYS_fsconfig, fs, FSCONFIG_SET_FD, key, NULL, fd)); }
int lnt_fsconfig_create(int fs) { return RESULT(syscall(SYS_fsconfig, fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0)); }
int lnt_fsmount(int fs, uint64_t attributes) { return RESULT(syscall(SYS_fsmount, fs, FSMOUNT_CLOEXEC, attributes)); }
int lnt_pivot_root(const char *new_root, const char *put_old) { return RESULT(syscall(SYS_pivot_root, new_root, put_old)); }

int lnt_mount(const char *source, const char *target, const char *type, unsigned long flags, const char *data) {
  return RESULT(syscall(SYS_mount, source, target, type, flags, data));
}

int lnt_umount(const char *target, int flags) { return RESULT(syscall(SYS_umount2, target, flags)); }

int lnt_overlay_by_number(const char *options, const char *target) {
  // "thread-self": the caller may be a thread with a mount namespace of its own.
  if (chdir("/proc/thread-self/fd") < 0) return -errno;
  if (syscall(SYS_mount, "lunette", target, "overlay", 0, options) < 0) return -errno;
  return lnt_open_tree(AT_FDCWD, target, OPEN_TREE_CLONE);
}
