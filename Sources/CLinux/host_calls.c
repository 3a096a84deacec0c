#include "host_calls.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/openat2.h>
#include <linux/sched.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

#define RESULT(call)                      \
    do {                                  \
        long result_ = (long)(call);      \
        return result_ < 0 ? -errno : (int)result_; \
    } while (0)

#define RESULT_LONG(call)                 \
    do {                                  \
        long result_;                     \
        do result_ = (long)(call);        \
        while (result_ < 0 && errno == EINTR); \
        return result_ < 0 ? -errno : result_; \
    } while (0)

#define RESULT_RETRY(call)                \
    do {                                  \
        int result_;                      \
        do result_ = (int)(call);         \
        while (result_ < 0 && errno == EINTR); \
        return result_ < 0 ? -errno : result_; \
    } while (0)

int lnt_host_openat(int directory, const char *path, int flags, uint32_t mode)
{
    RESULT_RETRY(openat(directory, path, flags | O_CLOEXEC, (mode_t)mode));
}

int lnt_host_openat2(int directory, const char *path, uint64_t flags, uint64_t mode, uint64_t resolve)
{
    struct open_how how = { .flags = flags | O_CLOEXEC, .mode = mode, .resolve = resolve };
    /* A racer that renames during a scoped look-up gives EAGAIN for as long as it races: bounded, so that it can't hold us. */
    for (int attempt = 0;; attempt++) {
        int fd = (int)syscall(SYS_openat2, directory, path, &how, sizeof how);
        if (fd >= 0) return fd;
        if (errno == EINTR) continue;
        if (errno != EAGAIN || attempt >= 128) return -errno;
    }
}

int lnt_host_may_write(const char *directory)
{
    struct stat status;
    if (stat(directory, &status) < 0) return -errno;
    return S_ISDIR(status.st_mode) && faccessat(AT_FDCWD, directory, W_OK | X_OK, AT_EACCESS) == 0;
}

int lnt_host_close(int fd) { RESULT(close(fd)); }
int lnt_host_dup(int fd, int minimum) { RESULT(fcntl(fd, F_DUPFD_CLOEXEC, minimum)); }
int lnt_host_set_cloexec(int fd, int on) { RESULT(fcntl(fd, F_SETFD, on ? FD_CLOEXEC : 0)); }

int lnt_host_set_nonblocking(int fd, int on)
{
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0) return -errno;
    RESULT(fcntl(fd, F_SETFL, on ? flags | O_NONBLOCK : flags & ~O_NONBLOCK));
}

int lnt_host_pipe(int out[2], int flags) { RESULT(pipe2(out, flags | O_CLOEXEC)); }
long lnt_host_read(int fd, void *buffer, size_t size) { RESULT_LONG(read(fd, buffer, size)); }
long lnt_host_write(int fd, const void *buffer, size_t size) { RESULT_LONG(write(fd, buffer, size)); }
long lnt_host_pread(int fd, void *buffer, size_t size, int64_t offset) { RESULT_LONG(pread(fd, buffer, size, offset)); }
long lnt_host_copy_file_range(int from, int to, size_t size) { RESULT_LONG(copy_file_range(from, NULL, to, NULL, size, 0)); }

int64_t lnt_host_seek(int fd, int64_t offset, int whence)
{
    off_t result = lseek(fd, offset, whence);
    return result < 0 ? -errno : result;
}

int lnt_host_truncate(int fd, int64_t size) { RESULT_RETRY(ftruncate(fd, size)); }

int lnt_host_stat(int directory, const char *path, int flags, struct lnt_host_stat *out)
{
    struct statx found;
    unsigned mask = STATX_BASIC_STATS | STATX_MNT_ID;
    if (statx(directory, path, flags | AT_NO_AUTOMOUNT, mask, &found) < 0) return -errno;
    *out = (struct lnt_host_stat){
        .device = makedev(found.stx_dev_major, found.stx_dev_minor),
        .inode = found.stx_ino,
        .size = found.stx_size,
        .links = found.stx_nlink,
        .blocks512 = found.stx_blocks,
        .mode = found.stx_mode,
        .uid = found.stx_uid,
        .gid = found.stx_gid,
        .rdev_major = found.stx_rdev_major,
        .rdev_minor = found.stx_rdev_minor,
        .mtime_seconds = found.stx_mtime.tv_sec,
        .mtime_nanoseconds = found.stx_mtime.tv_nsec,
        .atime_seconds = found.stx_atime.tv_sec,
        .atime_nanoseconds = found.stx_atime.tv_nsec,
        .mount_id = found.stx_mnt_id,
    };
    return 0;
}

int lnt_host_statfs(int fd, struct lnt_host_statfs *out)
{
    struct statfs found;
    if (fstatfs(fd, &found) < 0) return -errno;
    *out = (struct lnt_host_statfs){
        .type = found.f_type,
        .block_size = (uint64_t)found.f_bsize,
        .blocks = found.f_blocks,
        .blocks_free = found.f_bfree,
        .blocks_available = found.f_bavail,
        .files = found.f_files,
        .files_free = found.f_ffree,
        .flags = (uint64_t)found.f_flags,
    };
    return 0;
}

int lnt_host_mkdirat(int directory, const char *path, uint32_t mode) { RESULT(mkdirat(directory, path, mode)); }
int lnt_host_unlinkat(int directory, const char *path, int flags) { RESULT(unlinkat(directory, path, flags)); }

int lnt_host_renameat2(int from_directory, const char *from, int to_directory, const char *to, unsigned flags)
{
    RESULT(renameat2(from_directory, from, to_directory, to, flags));
}

int lnt_host_symlinkat(const char *target, int directory, const char *path) { RESULT(symlinkat(target, directory, path)); }

int lnt_host_linkat(int from_directory, const char *from, int to_directory, const char *to, int flags)
{
    RESULT(linkat(from_directory, from, to_directory, to, flags));
}

int lnt_host_mknodat(int directory, const char *path, uint32_t mode, uint32_t major, uint32_t minor)
{
    RESULT(mknodat(directory, path, mode, makedev(major, minor)));
}

long lnt_host_readlinkat(int directory, const char *path, char *buffer, size_t size)
{
    RESULT_LONG(readlinkat(directory, path, buffer, size));
}

long lnt_host_getdents(int fd, void *buffer, size_t size) { RESULT_LONG(syscall(SYS_getdents64, fd, buffer, size)); }
int lnt_host_fchmod(int fd, uint32_t mode) { RESULT(fchmod(fd, mode)); }

int lnt_host_fchownat(int directory, const char *path, uint32_t uid, uint32_t gid, int flags)
{
    RESULT(fchownat(directory, path, uid, gid, flags));
}

int lnt_host_utimensat(int directory, const char *path, const int64_t seconds[2], const int64_t nanoseconds[2], int flags)
{
    struct timespec times[2] = {
        { .tv_sec = seconds[0], .tv_nsec = nanoseconds[0] },
        { .tv_sec = seconds[1], .tv_nsec = nanoseconds[1] },
    };
    RESULT(utimensat(directory, path, times, flags));
}

int lnt_host_fsync(int fd) { RESULT_RETRY(fsync(fd)); }
int lnt_host_fdatasync(int fd) { RESULT_RETRY(fdatasync(fd)); }
int lnt_host_syncfs(int fd) { RESULT_RETRY(syncfs(fd)); }
int lnt_host_flock(int fd, int operation) { RESULT_RETRY(flock(fd, operation)); }
uint32_t lnt_host_umask(uint32_t mask) { return umask(mask); }

int lnt_host_memfd(const char *name)
{
    /* MFD_EXEC says aloud what old kernels assume; those without it (before 6.3) answer EINVAL. */
    int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING | 0x0010U);
    if (fd < 0 && errno == EINVAL) fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    return fd < 0 ? -errno : fd;
}

int lnt_host_seal(int fd) { RESULT(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL)); }

int lnt_host_spawn(const struct lnt_host_spawn *request, int *pid_out)
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    int error = posix_spawn_file_actions_init(&actions);
    if (error) return -error;
    error = posix_spawnattr_init(&attributes);
    if (error) {
        posix_spawn_file_actions_destroy(&actions);
        return -error;
    }
    /* Sources may sit where targets go: copies above those first, so that no dup2 overwrites a later source; no further above, because
       a caller's RLIMIT_NOFILE may be small. */
    int copies[LNT_HOST_MAX_FDS];
    int made = 0;
    char path[48];
    if (request->descriptor_count > LNT_HOST_MAX_FDS) error = E2BIG;
    for (int i = 0; !error && i < request->descriptor_count; i++) {
        int source = request->descriptors[i];
        if (source < 0) {
            copies[made++] = -1;
            error = posix_spawn_file_actions_addopen(&actions, i, "/dev/null", O_RDWR, 0);
            continue;
        }
        int copy = fcntl(source, F_DUPFD_CLOEXEC, request->descriptor_count);
        if (copy < 0) {
            error = errno;
            break;
        }
        copies[made++] = copy;
        error = posix_spawn_file_actions_adddup2(&actions, copy, i);
    }
    if (!error && request->directory >= 0) error = posix_spawn_file_actions_addfchdir_np(&actions, request->directory);
    const char *program = request->path;
    if (!program) {
        /* Through our own /proc entry: the child has closed its copy by the time it executes, so nothing extra stays open in it. */
        snprintf(path, sizeof path, "/proc/%d/fd/%d", (int)getpid(), request->executable);
        program = path;
    }
    if (!error) error = posix_spawn_file_actions_addclosefrom_np(&actions, request->descriptor_count);
    sigset_t all, none;
    sigfillset(&all);
    sigemptyset(&none);
    short flags = POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK;
    if (request->new_session) flags |= POSIX_SPAWN_SETSID;
    if (!error) error = posix_spawnattr_setsigdefault(&attributes, &all);
    if (!error) error = posix_spawnattr_setsigmask(&attributes, &none);
    if (!error) error = posix_spawnattr_setflags(&attributes, flags);
    pid_t pid = 0;
    if (!error) error = posix_spawn(&pid, program, &actions, &attributes, request->arguments, request->environment);
    for (int i = 0; i < made; i++)
        if (copies[i] >= 0) close(copies[i]);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    if (error) return -error;
    *pid_out = pid;
    return 0;
}

int lnt_host_pidfd_open(int pid) { RESULT(syscall(SYS_pidfd_open, pid, 0)); }
int lnt_host_pidfd_signal(int pidfd, int signal) { RESULT(syscall(SYS_pidfd_send_signal, pidfd, signal, NULL, 0)); }
int lnt_host_kill(int pid, int signal) { RESULT(kill(pid, signal)); }

int lnt_host_wait_pidfd(int pidfd, int block, int *status)
{
    siginfo_t info;
    for (;;) {
        memset(&info, 0, sizeof info);
        if (waitid(P_PIDFD, (id_t)pidfd, &info, WEXITED | (block ? 0 : WNOHANG)) == 0) break;
        if (errno != EINTR) return -errno;
    }
    if (info.si_pid == 0) return -EAGAIN;
    *status = info.si_code == CLD_EXITED ? (info.si_status & 0xff) << 8 : (info.si_status & 0x7f) | (info.si_code == CLD_DUMPED ? 0x80 : 0);
    return 0;
}

char *const *lnt_host_environment(void) { return environ; }

int lnt_host_ignore_sigpipe(void)
{
    struct sigaction action = { .sa_handler = SIG_IGN };
    RESULT(sigaction(SIGPIPE, &action, NULL));
}

int lnt_host_prctl(int option, unsigned long a, unsigned long b) { RESULT(prctl(option, a, b, 0, 0)); }
int lnt_host_close_range(unsigned first, unsigned last, unsigned flags) { RESULT(syscall(SYS_close_range, first, last, flags)); }

static int unix_address(const char *path, struct sockaddr_un *address)
{
    size_t length = strlen(path);
    memset(address, 0, sizeof *address);
    address->sun_family = AF_UNIX;
    if (length == 0 || length >= sizeof address->sun_path) return -ENAMETOOLONG;
    memcpy(address->sun_path, path, length + 1);
    return 0;
}

int lnt_host_unix_listen(const char *path, int kind, uint32_t mode, int backlog)
{
    struct sockaddr_un address;
    int result = unix_address(path, &address);
    if (result < 0) return result;
    int fd = socket(AF_UNIX, kind | SOCK_CLOEXEC, 0);
    if (fd < 0) return -errno;
    /* The socket's own mode becomes the file's (minus umask), so it is never wider than asked for, not even for an instant. */
    if (fchmod(fd, mode) < 0 || bind(fd, (struct sockaddr *)&address, sizeof address) < 0 || listen(fd, backlog) < 0) {
        result = -errno;
        close(fd);
        return result;
    }
    return fd;
}

int lnt_host_unix_connect(const char *path, int kind, int wait)
{
    struct sockaddr_un address;
    int result = unix_address(path, &address);
    if (result < 0) return result;
    int fd = socket(AF_UNIX, kind | SOCK_CLOEXEC | (wait == 0 ? SOCK_NONBLOCK : 0), 0);
    if (fd < 0) return -errno;
    struct timeval patience = { .tv_sec = wait / 1000, .tv_usec = wait % 1000 * 1000 }, forever = { 0 };
    if (wait > 0) setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    do result = connect(fd, (struct sockaddr *)&address, sizeof address);
    while (result < 0 && errno == EINTR);
    if (wait > 0 && result == 0) setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &forever, sizeof forever);
    if (result < 0) {
        result = -errno;
        close(fd);
        return result;
    }
    return fd;
}

int lnt_host_unix_pair(int kind, int out[2]) { RESULT(socketpair(AF_UNIX, kind | SOCK_CLOEXEC, 0, out)); }
int lnt_host_accept(int fd) { RESULT_RETRY(accept4(fd, NULL, NULL, SOCK_CLOEXEC)); }

int lnt_host_shutdown(int fd) { RESULT(shutdown(fd, SHUT_RDWR)); }

int lnt_host_peer(int fd, int *pid, uint32_t *uid, uint32_t *gid)
{
    struct ucred peer;
    socklen_t size = sizeof peer;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0) return -errno;
    *pid = peer.pid;
    *uid = peer.uid;
    *gid = peer.gid;
    return 0;
}

union control_buffer {
    struct cmsghdr header;
    char bytes[CMSG_SPACE(sizeof(int) * LNT_HOST_MAX_FDS)];
};

long lnt_host_send(int fd, const void *buffer, size_t size, const int *fds, int fd_count, int flags)
{
    union control_buffer control;
    struct iovec part = { .iov_base = (void *)(uintptr_t)buffer, .iov_len = size };
    struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1 };
    if (fd_count > LNT_HOST_MAX_FDS) return -E2BIG;
    if (fd_count > 0) {
        memset(&control, 0, sizeof control);
        message.msg_control = &control;
        message.msg_controllen = CMSG_SPACE(sizeof(int) * (size_t)fd_count);
        struct cmsghdr *header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(sizeof(int) * (size_t)fd_count);
        memcpy(CMSG_DATA(header), fds, sizeof(int) * (size_t)fd_count);
    }
    RESULT_LONG(sendmsg(fd, &message, MSG_NOSIGNAL | flags));
}

long lnt_host_receive(int fd, void *buffer, size_t size, int *fds, int *fd_count, int *truncated, int flags)
{
    union control_buffer control;
    struct iovec part = { .iov_base = buffer, .iov_len = size };
    struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control };
    int room = *fd_count;
    *fd_count = 0;
    *truncated = 0;
    long result;
    do result = recvmsg(fd, &message, MSG_CMSG_CLOEXEC | flags);
    while (result < 0 && errno == EINTR);
    if (result < 0) return -errno;
    if (message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) *truncated = 1;
    for (struct cmsghdr *header = CMSG_FIRSTHDR(&message); header; header = CMSG_NXTHDR(&message, header)) {
        if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) continue;
        int count = (int)((header->cmsg_len - CMSG_LEN(0)) / sizeof(int));
        for (int i = 0; i < count; i++) {
            int received;
            memcpy(&received, CMSG_DATA(header) + sizeof(int) * (size_t)i, sizeof received);
            if (*fd_count < room) {
                fds[(*fd_count)++] = received;
            } else {
                close(received);
                *truncated = 1;
            }
        }
    }
    return result;
}

int lnt_host_poll(void *entries, unsigned count, int timeout) { RESULT(poll(entries, count, timeout)); }

int lnt_host_poll_one(int fd, short events, int timeout)
{
    struct pollfd entry = { .fd = fd, .events = events };
    int result = poll(&entry, 1, timeout);
    if (result < 0) return -errno;
    return result == 0 ? 0 : entry.revents;
}

int lnt_host_epoll_create(void) { RESULT(epoll_create1(EPOLL_CLOEXEC)); }

int lnt_host_epoll_control(int epoll, int operation, int fd, uint32_t events, uint64_t data)
{
    struct epoll_event event = { .events = events, .data.u64 = data };
    RESULT(epoll_ctl(epoll, operation, fd, &event));
}

int lnt_host_epoll_wait(int epoll, uint32_t *events, uint64_t *data, int count, int timeout)
{
    struct epoll_event found[64];
    if (count > 64) count = 64;
    int result = epoll_wait(epoll, found, count, timeout);
    if (result < 0) return errno == EINTR ? 0 : -errno;
    for (int i = 0; i < result; i++) {
        events[i] = found[i].events;
        data[i] = found[i].data.u64;
    }
    return result;
}

int lnt_host_eventfd(void) { RESULT(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)); }
int lnt_host_inotify(void) { RESULT(inotify_init1(IN_CLOEXEC | IN_NONBLOCK)); }
int lnt_host_inotify_add(int fd, const char *path, uint32_t mask) { RESULT(inotify_add_watch(fd, path, mask)); }

long lnt_host_fgetxattr(int fd, const char *name, void *buffer, size_t size) { RESULT_LONG(fgetxattr(fd, name, buffer, size)); }
int lnt_host_fsetxattr(int fd, const char *name, const void *buffer, size_t size) { RESULT(fsetxattr(fd, name, buffer, size, 0)); }
long lnt_host_flistxattr(int fd, char *buffer, size_t size) { RESULT_LONG(flistxattr(fd, buffer, size)); }

int lnt_host_unshare(int flags) { RESULT(unshare(flags)); }
int lnt_host_setns(int fd, int flags) { RESULT(setns(fd, flags)); }

int lnt_host_mount(const char *source, const char *target, const char *type, unsigned long flags, const char *data)
{
    RESULT(mount(source, target, type, flags, data));
}

int lnt_host_umount(const char *target, int flags) { RESULT(umount2(target, flags)); }
int lnt_host_gettid(void) { RESULT(syscall(SYS_gettid)); }

const char *lnt_host_errno_name(int error)
{
    const char *name = strerrorname_np(error);
    return name ? name : "E?";
}

const char *lnt_host_errno_text(int error)
{
    const char *text = strerrordesc_np(error);
    return text ? text : "unknown error";
}

int lnt_host_clock(int which, int64_t *seconds, int64_t *nanoseconds)
{
    struct timespec now;
    if (clock_gettime(which == 1 ? CLOCK_MONOTONIC : CLOCK_REALTIME, &now) < 0) return -errno;
    *seconds = now.tv_sec;
    *nanoseconds = now.tv_nsec;
    return 0;
}

int lnt_host_processors(void)
{
    cpu_set_t allowed;
    /* It fails on a machine with more processors than the set holds: not one that has only one. */
    if (sched_getaffinity(0, sizeof allowed, &allowed) < 0) return errno == EINVAL ? CPU_SETSIZE : 1;
    return CPU_COUNT(&allowed);
}

int lnt_host_sleep_nanoseconds(int64_t nanoseconds)
{
    struct timespec wait = { .tv_sec = nanoseconds / 1000000000, .tv_nsec = nanoseconds % 1000000000 };
    while (nanosleep(&wait, &wait) < 0)
        if (errno != EINTR) return -errno;
    return 0;
}

int lnt_host_attach_device_filter(int cgroup, const void *instructions, uint32_t count)
{
    union bpf_attr attributes;
    /* All that are attached must allow, so earlier ones have to go, after the new one is there: never is there none. */
    uint32_t earlier[16];
    memset(&attributes, 0, sizeof attributes);
    attributes.query.target_fd = (uint32_t)cgroup;
    attributes.query.attach_type = BPF_CGROUP_DEVICE;
    attributes.query.prog_ids = (uint64_t)(uintptr_t)earlier;
    attributes.query.prog_cnt = sizeof earlier / sizeof earlier[0];
    uint32_t earlier_count = 0;
    if (syscall(SYS_bpf, BPF_PROG_QUERY, &attributes, sizeof attributes) == 0) earlier_count = attributes.query.prog_cnt;

    memset(&attributes, 0, sizeof attributes);
    attributes.prog_type = BPF_PROG_TYPE_CGROUP_DEVICE;
    attributes.insns = (uint64_t)(uintptr_t)instructions;
    attributes.insn_cnt = count;
    attributes.license = (uint64_t)(uintptr_t) "Apache-2.0";
    int program = (int)syscall(SYS_bpf, BPF_PROG_LOAD, &attributes, sizeof attributes);
    if (program < 0) return -errno;
    memset(&attributes, 0, sizeof attributes);
    attributes.target_fd = (uint32_t)cgroup;
    attributes.attach_bpf_fd = (uint32_t)program;
    attributes.attach_type = BPF_CGROUP_DEVICE;
    attributes.attach_flags = BPF_F_ALLOW_MULTI;
    int result = (int)syscall(SYS_bpf, BPF_PROG_ATTACH, &attributes, sizeof attributes);
    if (result < 0) result = -errno;
    close(program);
    for (uint32_t index = 0; result >= 0 && index < earlier_count; index++) {
        memset(&attributes, 0, sizeof attributes);
        attributes.prog_id = earlier[index];
        int old = (int)syscall(SYS_bpf, BPF_PROG_GET_FD_BY_ID, &attributes, sizeof attributes);
        if (old < 0) return -errno;
        memset(&attributes, 0, sizeof attributes);
        attributes.target_fd = (uint32_t)cgroup;
        attributes.attach_bpf_fd = (uint32_t)old;
        attributes.attach_type = BPF_CGROUP_DEVICE;
        if (syscall(SYS_bpf, BPF_PROG_DETACH, &attributes, sizeof attributes) < 0) result = -errno;
        close(old);
    }
    return result;
}

/* Only system calls from here on: other threads of the caller's may have held any lock when it was cloned. */
static _Noreturn void wait_for_end(int end)
{
    char byte;
    if (dup2(end, 0) == 0 && close_range(1, ~0u, 0) == 0)
        while (read(0, &byte, 1) < 0 && errno == EINTR) {}
    _exit(0);
}

int lnt_host_place_holder(int *pidfd, int *end)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) < 0) return -errno;
    struct clone_args arguments = { .flags = CLONE_PIDFD, .pidfd = (uint64_t)(uintptr_t)pidfd, .exit_signal = SIGCHLD };
    long pid = syscall(SYS_clone3, &arguments, sizeof arguments);
    if (pid == 0) wait_for_end(ends[0]);
    int result = pid < 0 ? -errno : (int)pid;
    close(ends[0]);
    if (result < 0) close(ends[1]);
    else *end = ends[1];
    return result;
}
