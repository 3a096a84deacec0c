// System calls that Swift can't reach (variadic, or without a libc wrapper), each returning >= 0 or -errno. No policy.
#pragma once
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "constants.h"
#include "landlock.h"
#include "launch_plan.h"
#include "notify.h"
#include "shim_protocol.h"

// --- processes and namespaces

// clone3 as fork: 0 in the child. pidfd may be NULL; cgroup < 0 = not into a cgroup (CLONE_INTO_CGROUP is added else).
int lnt_clone3(uint64_t flags, int *pidfd, int exit_signal, int cgroup);
int lnt_unshare(uint64_t flags);
int lnt_setns(int fd, uint64_t kinds);
int lnt_pidfd_open(pid_t pid);
int lnt_pidfd_send_signal(int pidfd, int signal);
// P_PIDFD wait without reaping hurry: 0 = still running, 1 = ended and reaped, *status raw.
int lnt_wait_pidfd(int pidfd, int *status, int block);
int lnt_wait(pid_t pid, int *status, int block);  // the pid reaped, 0 = none ended
int lnt_prctl(int option, unsigned long argument);
int lnt_capset(uint64_t effective, uint64_t permitted, uint64_t inheritable);
int lnt_set_ids(uid_t uid, gid_t gid);  // setresgid, setresuid: real, effective, saved
uid_t lnt_effective_uid(void);
int lnt_act_as(uid_t uid);  // the effective uid alone, keeping all capabilities; 0 = root again
int64_t lnt_namespace_owner(int namespace);  // the uid that a user namespace belongs to
int lnt_set_fsids(uid_t uid, gid_t gid);
int lnt_capget(uint64_t *effective, uint64_t *permitted, uint64_t *inheritable);
int lnt_sethostname(const char *name);
int lnt_setdomainname(const char *name);
int lnt_setsid(void);
int lnt_getpid(void);
int lnt_getppid(void);
void lnt_umask(mode_t mask);
int lnt_setgroups(const gid_t *groups, size_t count);
int lnt_raise_ambient(int capability);
int lnt_prlimit(pid_t pid, int resource, uint64_t soft, uint64_t hard);  // pid 0 = the caller
int lnt_get_limit(int resource, uint64_t *soft, uint64_t *hard);  // of the caller
int lnt_join_session_keyring(void);
// program: struct sock_filter[count]. With SECCOMP_FILTER_FLAG_NEW_LISTENER in the flags the listener's descriptor.
int lnt_seccomp_load(const void *program, size_t count, unsigned flags);
int lnt_execve(const char *path, const char *const *argv, const char *const *envp);
void lnt_forget_children(void);  // until execve nobody has to wait for a child that ends
void lnt_reset_signals(void);  // every disposition to default, nothing blocked
_Noreturn void lnt_exit(int code);

// --- mounts

int lnt_open_tree(int dir, const char *path, unsigned flags);
int lnt_move_mount(int from, const char *from_path, int to, const char *to_path, unsigned flags);
// attributes by MOUNT_ATTR_*; userns < 0 = no id mapping; propagation 0 = unchanged
int lnt_mount_setattr(int dir, const char *path, unsigned flags, uint64_t set, uint64_t clear, uint64_t propagation, int userns);
int lnt_fsopen(const char *type);
int lnt_fsconfig_string(int fs, const char *key, const char *value);
int lnt_fsconfig_flag(int fs, const char *key);
int lnt_fsconfig_fd(int fs, const char *key, int fd);
int lnt_fsconfig_create(int fs);
int lnt_fsmount(int fs, uint64_t attributes);
int lnt_pivot_root(const char *new_root, const char *put_old);
int lnt_mount(const char *source, const char *target, const char *type, unsigned long flags, const char *data);
int lnt_umount(const char *target, int flags);
/* An overlay for kernels that take its directories by path only: `options` names them by descriptor number ("lowerdir=7:8,upperdir=9,workdir=10"),
 * which keeps within mount(2)'s page what fsconfig's 255 bytes would not hold. The caller is alone in its mount namespace and working directory,
 * both of which this uses up: the overlay is mounted on `target` there (absolute, or NUMBER/PATH) and comes back as a detached tree. */
int lnt_overlay_by_number(const char *options, const char *target);

// --- files

int lnt_open(const char *path, int flags, mode_t mode);
int lnt_openat(int dir, const char *path, int flags, mode_t mode);
// EAGAIN under a racer is tried again up to 32 times.
int lnt_openat2(int dir, const char *path, uint64_t flags, uint64_t mode, uint64_t resolve);
int lnt_mkdirat(int dir, const char *path, mode_t mode);
int lnt_symlinkat(const char *target, int dir, const char *path);
int lnt_renameat2(int from, const char *from_path, int to, const char *to_path, unsigned flags);
int lnt_unlinkat(int dir, const char *path, int flags);
int lnt_linkat(int from, const char *from_path, int to, const char *to_path, int flags);
int lnt_fchown(int fd, uid_t uid, gid_t gid);
int lnt_fchmod(int fd, mode_t mode);
ssize_t lnt_read(int fd, void *into, size_t size);
ssize_t lnt_pread(int fd, void *into, size_t size, int64_t offset);
ssize_t lnt_write(int fd, const void *from, size_t size);
int lnt_write_all(int fd, const void *from, size_t size);
int lnt_fsync(int fd);
int lnt_ftruncate(int fd, int64_t size);
int lnt_memfd_create(const char *name, unsigned flags);
int lnt_seal(int fd, int seals);
int lnt_dup(int fd, int at_least);  // close-on-exec
int lnt_dup2(int fd, int to);       // not close-on-exec
int lnt_close(int fd);
int lnt_close_range(unsigned first, unsigned last, unsigned flags);
int lnt_set_nonblocking(int fd, int on);
int lnt_get_flags(int fd);
int lnt_set_pipe_size(int fd, int size);
int lnt_pipe(int *both, int flags);
int lnt_fchdir(int fd);
int lnt_chdir(const char *path);
int lnt_is_executable(const char *path);  // access(X_OK) by the effective ids
int lnt_getcwd(char *into, size_t size);
int lnt_flock(int fd, int operation);

struct lnt_file_status {
  uint64_t size;
  uint64_t inode;
  uint64_t device;
  uint32_t mode;
  uint32_t uid;
  uint32_t gid;
  uint32_t device_major;  // of a device node
  uint32_t device_minor;
  uint32_t zero;
};
int lnt_fstat(int fd, struct lnt_file_status *out);
int lnt_fstatat(int dir, const char *path, int flags, struct lnt_file_status *out);
// f_type; *flags as ST_* (1 = read-only) when not NULL
int64_t lnt_fstatfs_type(int fd, uint64_t *flags);

// --- sockets, terminals, time

int lnt_socketpair(int type, int *both);
int lnt_listen_at(int dir, const char *name, int backlog);  // SOCK_SEQPACKET, 0600, non-blocking
// A stream connection to the socket at a path of any length; what is sent waits that long at most (EAGAIN then), and so does the connection.
int lnt_connect_to(const char *path, int seconds);
int lnt_accept(int fd);                                     // non-blocking, close-on-exec
// Sends one packet with descriptors (may be none); MSG_NOSIGNAL, MSG_DONTWAIT when block is 0, MSG_CONFIRM (nothing to a local socket) when it is 2.
ssize_t lnt_send(int fd, const void *data, size_t size, const int *fds, size_t count, int block);

struct lnt_received {
  ssize_t size;  // 0 = end
  pid_t pid;     // of the sender, when SO_PASSCRED is on
  uid_t uid;
  gid_t gid;
  uint32_t count;  // descriptors, all close-on-exec
  int fds[8];
};
int lnt_receive(int fd, void *into, size_t size, struct lnt_received *out, int block);
int lnt_pass_credentials(int fd);
int lnt_send_socket(int fd, const void *data, size_t size);  // non-blocking stream write; -ENOTSOCK when not a socket

int lnt_raise_loopback(void);
int lnt_open_terminal_peer(int master);  // unlocks, then TIOCGPTPEER
int lnt_set_terminal_size(int fd, unsigned rows, unsigned columns);
int lnt_is_terminal(int fd);
int lnt_make_controlling_terminal(int fd);

struct lnt_poll {
  int fd;
  int16_t events;
  int16_t revents;
};
enum { LNT_IN = 1, LNT_PRI = 2, LNT_OUT = 4, LNT_ERR = 8, LNT_HUP = 16 };  // POLLIN…
// poll(2), again after EINTR; milliseconds < 0 = for ever
int lnt_wait_ready(struct lnt_poll *list, size_t count, int64_t milliseconds);
int lnt_signalfd_all(void);      // blocks every signal; a non-blocking descriptor that tells of them
int lnt_next_signal(int fd);     // its number, 0 = none waiting
int lnt_kill(pid_t pid, int signal);
// cgroup v1: an eventfd (close-on-exec, non-blocking) that counts what `file` (memory.oom_control) has to tell, registered by writing to `control`.
int lnt_watch_v1(int file, const char *control);
uint64_t lnt_clock_realtime(void);   // ns
uint64_t lnt_clock_monotonic(void);  // ns
// Offset of the first such byte, or -1.
ssize_t lnt_find_byte(const void *in, int byte, size_t size);
size_t lnt_length(const char *text);
int lnt_same(const void *left, const void *right, size_t size);
void *lnt_map_anonymous(size_t size);
void *lnt_map_file(int fd, size_t size);  // private, read-only
void lnt_map_program(void);  // populates the page table with the program's read-only pages
int lnt_unmap(void *address, size_t size);
