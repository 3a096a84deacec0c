#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "clinux.h"

#define RESULT(call) ({ __typeof__(call) result_ = (call); result_ < 0 ? (__typeof__(call))-errno : result_; })
#define RETRIED(call) ({ __typeof__(call) value_; do value_ = (call); while (value_ < 0 && errno == EINTR); value_ < 0 ? (__typeof__(call))-errno : value_; })

int lnt_open(const char *path, int flags, mode_t mode) { return RETRIED(open(path, flags | O_CLOEXEC, mode)); }
int lnt_openat(int dir, const char *path, int flags, mode_t mode) { return RETRIED(openat(dir, path, flags | O_CLOEXEC, mode)); }

int lnt_openat2(int dir, const char *path, uint64_t flags, uint64_t mode, uint64_t resolve) {
  struct open_how how = {.flags = flags | O_CLOEXEC, .mode = mode, .resolve = resolve};
  for (int attempt = 0;; attempt++) {
    int fd = (int)syscall(SYS_openat2, dir, path, &how, sizeof how);
    if (fd >= 0) return fd;
    if ((errno != EAGAIN && errno != EINTR) || attempt == 32) return -errno;
  }
}

int lnt_mkdirat(int dir, const char *path, mode_t mode) { return RESULT(mkdirat(dir, path, mode)); }
int lnt_symlinkat(const char *target, int dir, const char *path) { return RESULT(symlinkat(target, dir, path)); }
int lnt_renameat2(int from, const char *from_path, int to, const char *to_path, unsigned flags) {
  return (int)RESULT(syscall(SYS_renameat2, from, from_path, to, to_path, flags));
}
int lnt_unlinkat(int dir, const char *path, int flags) { return RESULT(unlinkat(dir, path, flags)); }
int lnt_linkat(int from, const char *from_path, int to, const char *to_path, int flags) { return RESULT(linkat(from, from_path, to, to_path, flags)); }
int lnt_fchmod(int fd, mode_t mode) { return RESULT(fchmod(fd, mode)); }
int lnt_fchown(int fd, uid_t uid, gid_t gid) { return RESULT(fchown(fd, uid, gid)); }
ssize_t lnt_read(int fd, void *into, size_t size) { return RETRIED(read(fd, into, size)); }
ssize_t lnt_pread(int fd, void *into, size_t size, int64_t offset) { return RETRIED(pread(fd, into, size, offset)); }
ssize_t lnt_write(int fd, const void *from, size_t size) { return RETRIED(write(fd, from, size)); }

int lnt_write_all(int fd, const void *from, size_t size) {
  const char *at = from;
  while (size > 0) {
    ssize_t written = lnt_write(fd, at, size);
    if (written < 0) return (int)written;
    at += written;
    size -= (size_t)written;
  }
  return 0;
}

int lnt_fsync(int fd) { return RETRIED(fsync(fd)); }
int lnt_ftruncate(int fd, int64_t size) { return RETRIED(ftruncate(fd, size)); }
int lnt_memfd_create(const char *name, unsigned flags) { return RESULT(memfd_create(name, flags)); }
int lnt_seal(int fd, int seals) { return RESULT(fcntl(fd, F_ADD_SEALS, seals)); }
int lnt_dup(int fd, int at_least) { return RESULT(fcntl(fd, F_DUPFD_CLOEXEC, at_least)); }
int lnt_dup2(int fd, int to) {
  if (fd == to) return RESULT(fcntl(fd, F_SETFD, 0)) < 0 ? -errno : to;
  return RESULT(dup2(fd, to));
}
int lnt_close(int fd) { return RESULT(close(fd)); }
int lnt_close_range(unsigned first, unsigned last, unsigned flags) { return (int)RESULT(syscall(SYS_close_range, first, last, flags)); }
int lnt_get_flags(int fd) { return RESULT(fcntl(fd, F_GETFL)); }
int lnt_set_nonblocking(int fd, int on) {
  int flags = fcntl(fd, F_GETFL);
  if (flags < 0) return -errno;
  return RESULT(fcntl(fd, F_SETFL, on ? flags | O_NONBLOCK : flags & ~O_NONBLOCK));
}
int lnt_set_pipe_size(int fd, int size) { return RESULT(fcntl(fd, F_SETPIPE_SZ, size)); }
int lnt_pipe(int *both, int flags) { return RESULT(pipe2(both, flags | O_CLOEXEC)); }
int lnt_fchdir(int fd) { return RESULT(fchdir(fd)); }
int lnt_chdir(const char *path) { return RESULT(chdir(path)); }
int lnt_is_executable(const char *path) { return RESULT(faccessat(AT_FDCWD, path, X_OK, AT_EACCESS)); }
int lnt_getcwd(char *into, size_t size) { return (int)RESULT(syscall(SYS_getcwd, into, size)); }
int lnt_flock(int fd, int operation) { return RETRIED(flock(fd, operation)); }

static void convert(const struct stat *from, struct lnt_file_status *out) {
  *out = (struct lnt_file_status){
      .size = (uint64_t)from->st_size, .inode = from->st_ino, .device = from->st_dev, .mode = from->st_mode, .uid = from->st_uid,
      .gid = from->st_gid, .device_major = major(from->st_rdev), .device_minor = minor(from->st_rdev)};
}

int lnt_fstat(int fd, struct lnt_file_status *out) {
  struct stat status;
  if (fstat(fd, &status) < 0) return -errno;
  convert(&status, out);
  return 0;
}

int lnt_fstatat(int dir, const char *path, int flags, struct lnt_file_status *out) {
  struct stat status;
  if (fstatat(dir, path, &status, flags) < 0) return -errno;
  convert(&status, out);
  return 0;
}

int64_t lnt_fstatfs_type(int fd, uint64_t *flags) {
  struct statfs status;
  if (fstatfs(fd, &status) < 0) return -errno;
  if (flags) *flags = (uint64_t)status.f_flags;
  return status.f_type;
}
