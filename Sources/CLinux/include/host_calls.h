/* System calls of the engine's side (LunetteLinux). Every function returns -errno or >= 0, retries EINTR where the call may
 * be repeated, opens everything close-on-exec, and keeps no state. `lnt_host_` is this file's prefix. */
#ifndef LNT_HOST_CALLS_H
#define LNT_HOST_CALLS_H

#include <stddef.h>
#include <stdint.h>

struct lnt_host_stat {
    uint64_t device, inode, size, links, blocks512;
    uint32_t mode, uid, gid, rdev_major, rdev_minor;
    int64_t mtime_seconds, atime_seconds;
    uint32_t mtime_nanoseconds, atime_nanoseconds;
    uint64_t mount_id;
};

struct lnt_host_statfs {
    int64_t type;
    uint64_t block_size, blocks, blocks_free, blocks_available, files, files_free;
    uint64_t flags;
};

/* Opening and descriptors. */
int lnt_host_openat(int directory, const char *path, int flags, uint32_t mode);
int lnt_host_openat2(int directory, const char *path, uint64_t flags, uint64_t mode, uint64_t resolve);
int lnt_host_close(int fd);
int lnt_host_dup(int fd, int minimum);
int lnt_host_set_cloexec(int fd, int on);
int lnt_host_set_nonblocking(int fd, int on);
int lnt_host_pipe(int out[2], int flags);
long lnt_host_read(int fd, void *buffer, size_t size);
long lnt_host_write(int fd, const void *buffer, size_t size);
long lnt_host_pread(int fd, void *buffer, size_t size, int64_t offset);
long lnt_host_copy_file_range(int from, int to, size_t size);
int64_t lnt_host_seek(int fd, int64_t offset, int whence);
int lnt_host_truncate(int fd, int64_t size);

/* Files and directories. */
int lnt_host_may_write(const char *directory);  /* 1: a directory that the caller may make names in */
int lnt_host_stat(int directory, const char *path, int flags, struct lnt_host_stat *out);
int lnt_host_statfs(int fd, struct lnt_host_statfs *out);
int lnt_host_mkdirat(int directory, const char *path, uint32_t mode);
int lnt_host_unlinkat(int directory, const char *path, int flags);
int lnt_host_renameat2(int from_directory, const char *from, int to_directory, const char *to, unsigned flags);
int lnt_host_symlinkat(const char *target, int directory, const char *path);
int lnt_host_linkat(int from_directory, const char *from, int to_directory, const char *to, int flags);
int lnt_host_mknodat(int directory, const char *path, uint32_t mode, uint32_t major, uint32_t minor);
long lnt_host_readlinkat(int directory, const char *path, char *buffer, size_t size);
long lnt_host_getdents(int fd, void *buffer, size_t size);
int lnt_host_fchmod(int fd, uint32_t mode);
int lnt_host_fchownat(int directory, const char *path, uint32_t uid, uint32_t gid, int flags);
int lnt_host_utimensat(int directory, const char *path, const int64_t seconds[2], const int64_t nanoseconds[2], int flags);
int lnt_host_fsync(int fd);
int lnt_host_fdatasync(int fd);
int lnt_host_syncfs(int fd);
int lnt_host_flock(int fd, int operation);
uint32_t lnt_host_umask(uint32_t mask);

/* Sealed memory. */
int lnt_host_memfd(const char *name);
int lnt_host_seal(int fd);

/* Processes. */
struct lnt_host_spawn {
    const char *path;          /* or fd: a descriptor to execute, used when path is null */
    int executable;
    char *const *arguments;    /* null-terminated */
    char *const *environment;  /* null-terminated */
    const int *descriptors;    /* becomes 0, 1, 2, … in the child; -1 = /dev/null */
    int descriptor_count;
    int new_session;
    int directory;             /* working directory by fd, -1 = inherited */
};
int lnt_host_spawn(const struct lnt_host_spawn *request, int *pid_out);
int lnt_host_pidfd_open(int pid);
int lnt_host_pidfd_signal(int pidfd, int signal);
int lnt_host_kill(int pid, int signal);
/* Reaps the child behind `pidfd`; 0 = reaped (raw wait status in *status), -EAGAIN = still running. */
int lnt_host_wait_pidfd(int pidfd, int block, int *status);
int lnt_host_ignore_sigpipe(void);
/* environ(7). */
char *const *lnt_host_environment(void);
int lnt_host_prctl(int option, unsigned long a, unsigned long b);
int lnt_host_close_range(unsigned first, unsigned last, unsigned flags);

/* Unix sockets. `kind` is SOCK_STREAM or SOCK_SEQPACKET. */
#define LNT_HOST_MAX_FDS 64
int lnt_host_unix_listen(const char *path, int kind, uint32_t mode, int backlog);
/* Where the listener's queue is full: waits `wait` milliseconds (0: not at all, negative: for ever), then -EAGAIN. */
int lnt_host_unix_connect(const char *path, int kind, int wait);
int lnt_host_unix_pair(int kind, int out[2]);
int lnt_host_accept(int fd);
int lnt_host_shutdown(int fd);
int lnt_host_peer(int fd, int *pid, uint32_t *uid, uint32_t *gid);
long lnt_host_send(int fd, const void *buffer, size_t size, const int *fds, int fd_count, int flags);
/* *fd_count: room on entry, received on return; *truncated is set when a message or its descriptors were cut. */
long lnt_host_receive(int fd, void *buffer, size_t size, int *fds, int *fd_count, int *truncated, int flags);

/* Waiting. */
int lnt_host_poll(void *entries, unsigned count, int timeout_milliseconds);
int lnt_host_poll_one(int fd, short events, int timeout_milliseconds);
int lnt_host_epoll_create(void);
int lnt_host_epoll_control(int epoll, int operation, int fd, uint32_t events, uint64_t data);
int lnt_host_epoll_wait(int epoll, uint32_t *events, uint64_t *data, int count, int timeout_milliseconds);
int lnt_host_eventfd(void);
int lnt_host_inotify(void);
int lnt_host_inotify_add(int fd, const char *path, uint32_t mask);

/* Extended attributes, through /proc/self/fd for O_PATH descriptors is the caller's matter. */
long lnt_host_fgetxattr(int fd, const char *name, void *buffer, size_t size);
int lnt_host_fsetxattr(int fd, const char *name, const void *buffer, size_t size);
long lnt_host_flistxattr(int fd, char *buffer, size_t size);

/* Namespaces and mounts for the engine's own private mount namespace. */
int lnt_host_unshare(int flags);
/* A detached overlay by lnt_overlay_by_number, made in a thread with a mount namespace of its own that ends with the call. `lowers` holds `count`
 * absolute paths, top first, each ended by a NUL; `upper` and `work` are NULL for a read-only one; with
 * `user_attributes` overlay keeps its marks in user.overlay.*, as it must where a user namespace mounts it. */
int lnt_host_overlay_by_path(const char *lowers, size_t count, const char *upper, const char *work, int user_attributes);
int lnt_host_setns(int fd, int flags);
/* A non-blocking TCP connection to a port on the loopback, 127.0.0.1 or else ::1, of the network namespace that the process behind a pidfd is in
 * (setns(2), Linux 5.8), made by a thread that ends with the call. -ETIMEDOUT after so long for each address. */
int lnt_host_connect_loopback(int process, uint16_t port, int timeout_milliseconds);
int lnt_host_mount(const char *source, const char *target, const char *type, unsigned long flags, const char *data);
int lnt_host_umount(const char *target, int flags);
int lnt_host_gettid(void);

/* Loads a cgroup device filter (struct bpf_insn[count]) and attaches it to a cgroup v2 directory; it lives as long as the cgroup. */
int lnt_host_attach_device_filter(int cgroup, const void *instructions, uint32_t count);

/* A child that does nothing and holds nothing open, for a place that must not be empty: it ends when *end, a pipe's writing end, is closed,
 * and so with the caller. Returns its pid. */
int lnt_host_place_holder(int *pidfd, int *end);

/* "ENOENT" and "no such file or directory" (glibc's words); never null. */
const char *lnt_host_errno_name(int error);
const char *lnt_host_errno_text(int error);

/* Seconds and nanoseconds of CLOCK_REALTIME (0) or CLOCK_MONOTONIC (1). */
int lnt_host_clock(int which, int64_t *seconds, int64_t *nanoseconds);
int lnt_host_sleep_nanoseconds(int64_t nanoseconds);

/* How many processors the calling thread may run on, of those that are online (sched_getaffinity(2)); 1 where that can't be told. */
int lnt_host_processors(void);
/* What a loop does that looks at a word again and again: it leaves the processor's other thread, and the word's cache line, alone for a moment. */
static inline void lnt_host_pause(void) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__) || defined(__arm__)
    __asm__ __volatile__("yield");
#endif
}

#endif
