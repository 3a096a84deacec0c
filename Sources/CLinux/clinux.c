#include "clinux.h"

#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/keyctl.h>
#include <linux/nsfs.h>
#include <linux/openat2.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <linux/securebits.h>
#include <grp.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/fsuid.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

// libc's wrappers, not the raw numbers, wherever libc has one: the return of -1 becomes -errno here, next to the call.
#define RESULT(call) ({ __typeof__(call) result_ = (call); result_ < 0 ? -errno : result_; })

int lnt_clone3(uint64_t flags, int *pidfd, int exit_signal, int cgroup) {
  struct clone_args args = {.flags = flags, .exit_signal = (uint64_t)exit_signal};
  if (pidfd) {
    args.flags |= CLONE_PIDFD;
    args.pidfd = (uint64_t)(uintptr_t)pidfd;
  }
  if (cgroup >= 0) {
    args.flags |= CLONE_INTO_CGROUP;
    args.cgroup = (uint64_t)cgroup;
  }
  return (int)RESULT(syscall(SYS_clone3, &args, sizeof args));
}

int lnt_unshare(uint64_t flags) { return RESULT(unshare((int)flags)); }
int lnt_setns(int fd, uint64_t kinds) { return RESULT(setns(fd, (int)kinds)); }
int lnt_pidfd_open(pid_t pid) { return (int)RESULT(syscall(SYS_pidfd_open, pid, 0)); }
int lnt_pidfd_send_signal(int pidfd, int signal) { return (int)RESULT(syscall(SYS_pidfd_send_signal, pidfd, signal, NULL, 0)); }

static int raw_status(const siginfo_t *info) {
  if (info->si_code == CLD_EXITED) return (info->si_status & 0xff) << 8;
  return (info->si_status & 0x7f) | (info->si_code == CLD_DUMPED ? 0x80 : 0);
}

int lnt_wait_pidfd(int pidfd, int *status, int block) {
  siginfo_t info;
  memset(&info, 0, sizeof info);
  int result;
  do result = waitid((idtype_t)3 /* P_PIDFD */, (id_t)pidfd, &info, WEXITED | (block ? 0 : WNOHANG));
  while (result < 0 && errno == EINTR);
  if (result < 0) return -errno;
  if (info.si_pid == 0) return 0;
  *status = raw_status(&info);
  return 1;
}

int lnt_wait(pid_t pid, int *status, int block) {
  pid_t result;
  do result = waitpid(pid, status, __WALL | (block ? 0 : WNOHANG));
  while (result < 0 && errno == EINTR);
  return result < 0 ? -errno : result;
}

int lnt_prctl(int option, unsigned long argument) { return RESULT(prctl(option, argument, 0, 0, 0)); }
int lnt_raise_ambient(int capability) { return RESULT(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, (unsigned long)capability, 0, 0)); }

int lnt_capset(uint64_t effective, uint64_t permitted, uint64_t inheritable) {
  struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
  struct __user_cap_data_struct data[2] = {
      {(uint32_t)effective, (uint32_t)permitted, (uint32_t)inheritable},
      {(uint32_t)(effective >> 32), (uint32_t)(permitted >> 32), (uint32_t)(inheritable >> 32)},
  };
  return (int)RESULT(syscall(SYS_capset, &header, data));
}

uid_t lnt_effective_uid(void) { return geteuid(); }

int lnt_capget(uint64_t *effective, uint64_t *permitted, uint64_t *inheritable) {
  struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
  struct __user_cap_data_struct data[2];
  if (syscall(SYS_capget, &header, data) < 0) return -errno;
  *effective = data[0].effective | (uint64_t)data[1].effective << 32;
  *permitted = data[0].permitted | (uint64_t)data[1].permitted << 32;
  *inheritable = data[0].inheritable | (uint64_t)data[1].inheritable << 32;
  return 0;
}

int lnt_sethostname(const char *name) { return RESULT(sethostname(name, strlen(name))); }
int lnt_setdomainname(const char *name) { return RESULT(setdomainname(name, strlen(name))); }
int lnt_setsid(void) { return RESULT(setsid()); }
int lnt_getpid(void) { return getpid(); }
int lnt_getppid(void) { return getppid(); }
void lnt_umask(mode_t mask) { umask(mask); }

// Raw calls: libc's would signal other threads, and these are used by the single-threaded shim only.
int lnt_set_ids(uid_t uid, gid_t gid) {
  if (syscall(SYS_setresgid, gid, gid, gid) < 0) return -errno;
  return (int)RESULT(syscall(SYS_setresuid, uid, uid, uid));
}

int lnt_act_as(uid_t uid) {
  // Root again first, where the capabilities follow the uid by themselves.
  if (uid != 0 && prctl(PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP) < 0) return -errno;
  if (syscall(SYS_setresuid, -1, uid, -1) < 0) return -errno;
  return uid == 0 ? (int)RESULT(prctl(PR_SET_SECUREBITS, 0)) : 0;
}

int64_t lnt_namespace_owner(int namespace) {
  uid_t owner = 0;
  return ioctl(namespace, NS_GET_OWNER_UID, &owner) < 0 ? -errno : (int64_t)owner;
}

int lnt_set_fsids(uid_t uid, gid_t gid) {
  setfsgid(gid);
  setfsuid(uid);
  return (uid_t)setfsuid((uid_t)-1) == uid && (gid_t)setfsgid((gid_t)-1) == gid ? 0 : -EPERM;
}

int lnt_setgroups(const gid_t *groups, size_t count) { return (int)RESULT(syscall(SYS_setgroups, count, groups)); }

int lnt_prlimit(pid_t pid, int resource, uint64_t soft, uint64_t hard) {
  struct rlimit limit = {soft, hard};
  return RESULT(prlimit(pid, (enum __rlimit_resource)resource, &limit, NULL));
}

int lnt_get_limit(int resource, uint64_t *soft, uint64_t *hard) {
  struct rlimit limit;
  if (prlimit(0, (enum __rlimit_resource)resource, NULL, &limit) < 0) return -errno;
  *soft = limit.rlim_cur;
  *hard = limit.rlim_max;
  return 0;
}

int lnt_join_session_keyring(void) { return (int)RESULT(syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, NULL)); }

int lnt_seccomp_load(const void *program, size_t count, unsigned flags) {
  struct sock_fprog filter = {(unsigned short)count, (struct sock_filter *)(uintptr_t)program};
  if (count == 0 || count > BPF_MAXINSNS) return -EINVAL;
  return (int)RESULT(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &filter));
}

int lnt_execve(const char *path, const char *const *argv, const char *const *envp) {
  execve(path, (char *const *)(uintptr_t)argv, (char *const *)(uintptr_t)envp);
  return -errno;
}

void lnt_forget_children(void) {
  // execve forgets the flag (signal(7), "execve").
  struct sigaction action = {.sa_handler = SIG_DFL, .sa_flags = SA_NOCLDWAIT};
  sigaction(SIGCHLD, &action, NULL);
}

void lnt_reset_signals(void) {
  // By the kernel's own call and structure: libc keeps signals 32 and 33 to itself, and its posix_spawn leaves them ignored.
  struct {
    void *handler;
    unsigned long flags;
    void *restorer;
    uint64_t mask;
  } action = {0};
  for (int number = 1; number < 65; number++)
    if (number != SIGKILL && number != SIGSTOP) syscall(SYS_rt_sigaction, number, &action, NULL, sizeof action.mask);
  uint64_t none = 0;
  syscall(SYS_rt_sigprocmask, SIG_SETMASK, &none, NULL, sizeof none);
}

_Noreturn void lnt_exit(int code) { _exit(code); }

uint64_t lnt_clock_realtime(void) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

uint64_t lnt_clock_monotonic(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

ssize_t lnt_find_byte(const void *in, int byte, size_t size) {
  const char *found = memchr(in, byte, size);
  return found ? found - (const char *)in : -1;
}

size_t lnt_length(const char *text) { return strlen(text); }
int lnt_same(const void *left, const void *right, size_t size) { return memcmp(left, right, size) == 0; }

void *lnt_map_anonymous(size_t size) {
  void *address = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  return address == MAP_FAILED ? NULL : address;
}

void *lnt_map_file(int fd, size_t size) {
  void *address = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0);
  return address == MAP_FAILED ? NULL : address;
}

int lnt_unmap(void *address, size_t size) { return RESULT(munmap(address, size)); }

void lnt_map_program(void) {
  const ElfW(Phdr) *header = (const ElfW(Phdr) *)getauxval(AT_PHDR);
  size_t count = getauxval(AT_PHNUM);
  uintptr_t base = 0;
  for (size_t index = 0; header && index < count; index++)
    if (header[index].p_type == PT_PHDR) base = (uintptr_t)header - header[index].p_vaddr;
  for (size_t index = 0; header && index < count; index++) {
    if (header[index].p_type != PT_LOAD || (header[index].p_flags & PF_W)) continue;
    uintptr_t start = (base + header[index].p_vaddr) & ~(uintptr_t)4095;
    uintptr_t end = (base + header[index].p_vaddr + header[index].p_memsz + 4095) & ~(uintptr_t)4095;
    madvise((void *)start, end - start, 22 /* MADV_POPULATE_READ */);
  }
}
