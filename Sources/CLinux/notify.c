#include "notify.h"

#include <errno.h>
#include <linux/seccomp.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

static const struct lnt_path_call calls[] = {
#ifdef SYS_open
    {SYS_open, -1, 0, 1, LNT_INTENT_OPEN},
    {SYS_creat, -1, 0, -1, LNT_INTENT_WRITE},
    {SYS_stat, -1, 0, -1, LNT_INTENT_READ},
    {SYS_lstat, -1, 0, -1, LNT_INTENT_READ},
    {SYS_access, -1, 0, -1, LNT_INTENT_READ},
    {SYS_mkdir, -1, 0, -1, LNT_INTENT_WRITE},
    {SYS_rmdir, -1, 0, -1, LNT_INTENT_WRITE},
    {SYS_unlink, -1, 0, -1, LNT_INTENT_WRITE},
    {SYS_rename, -1, 1, -1, LNT_INTENT_WRITE},
    {SYS_link, -1, 1, -1, LNT_INTENT_WRITE},
    {SYS_symlink, -1, 1, -1, LNT_INTENT_WRITE},
    {SYS_chmod, -1, 0, -1, LNT_INTENT_WRITE},
#endif
    {SYS_openat, 0, 1, 2, LNT_INTENT_OPEN},
    {SYS_openat2, 0, 1, 2, LNT_INTENT_OPEN_HOW},
    {SYS_newfstatat, 0, 1, -1, LNT_INTENT_READ},
    {SYS_statx, 0, 1, -1, LNT_INTENT_READ},
    {SYS_faccessat, 0, 1, -1, LNT_INTENT_READ},
    {SYS_faccessat2, 0, 1, -1, LNT_INTENT_READ},
    {SYS_execve, -1, 0, -1, LNT_INTENT_EXECUTE},
    {SYS_execveat, 0, 1, -1, LNT_INTENT_EXECUTE},
    {SYS_chdir, -1, 0, -1, LNT_INTENT_READ},
    {SYS_truncate, -1, 0, -1, LNT_INTENT_WRITE},
    {SYS_mkdirat, 0, 1, -1, LNT_INTENT_WRITE},
    {SYS_unlinkat, 0, 1, -1, LNT_INTENT_WRITE},
    {SYS_renameat2, 2, 3, -1, LNT_INTENT_WRITE},
    {SYS_linkat, 2, 3, -1, LNT_INTENT_WRITE},
    {SYS_symlinkat, 1, 2, -1, LNT_INTENT_WRITE},
    {SYS_fchmodat, 0, 1, -1, LNT_INTENT_WRITE},
    {SYS_connect, -1, 1, 2, LNT_INTENT_CONNECT},
    {SYS_bind, -1, 1, 2, LNT_INTENT_BIND},
    {SYS_sendto, -1, 4, 5, LNT_INTENT_SEND},
    {SYS_sendmsg, -1, 1, -1, LNT_INTENT_SEND_MESSAGE},
    {SYS_sendmmsg, -1, 1, 2, LNT_INTENT_SEND_MESSAGES},
};

const struct lnt_path_call *lnt_path_calls(size_t *count) {
  *count = sizeof calls / sizeof *calls;
  return calls;
}

int lnt_notification_receive(int listener, struct lnt_notification *out) {
  struct seccomp_notif raw;
  memset(&raw, 0, sizeof raw);
  if (ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &raw) < 0) return -errno;
  out->id = raw.id;
  out->pid = (int32_t)raw.pid;
  out->number = raw.data.nr;
  for (int index = 0; index < 6; index++) out->arguments[index] = raw.data.args[index];
  return 0;
}

int lnt_notification_is_valid(int listener, uint64_t id) { return ioctl(listener, SECCOMP_IOCTL_NOTIF_ID_VALID, &id) == 0; }

int lnt_notification_continue(int listener, uint64_t id) {
  struct seccomp_notif_resp answer = {.id = id, .flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE};
  return ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &answer) < 0 ? -errno : 0;
}

int64_t lnt_read_memory(int32_t pid, uint64_t address, void *into, size_t size, int is_text) {
  size_t done = 0;
  // Page by page: a text may end just before one that isn't mapped.
  while (done < size) {
    size_t part = 4096 - (address + done) % 4096;
    if (part > size - done) part = size - done;
    struct iovec here = {(char *)into + done, part};
    struct iovec there = {(void *)(uintptr_t)(address + done), part};
    ssize_t got = process_vm_readv(pid, &here, 1, &there, 1, 0);
    if (got <= 0) return done > 0 ? (int64_t)done : got < 0 ? -errno : 0;
    done += (size_t)got;
    if (is_text && memchr(here.iov_base, 0, (size_t)got)) break;
  }
  return (int64_t)done;
}

int lnt_socket_type(int32_t pid, int fd) {
  int process = (int)syscall(SYS_pidfd_open, pid, 0);
  if (process < 0) return -errno;
  int copy = (int)syscall(SYS_pidfd_getfd, process, fd, 0);
  int error = copy < 0 ? errno : 0;
  close(process);
  if (error) return -error;
  int type = 0;
  socklen_t length = sizeof type;
  if (getsockopt(copy, SOL_SOCKET, SO_TYPE, &type, &length) < 0) error = errno;
  close(copy);
  return error ? -error : type;
}
