#include "kernel.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clinux.h"
#include "network_device.h"
#include "process_settings.h"

jmp_buf fake_end;

static const uint8_t *answers, *plan;
static size_t left, plan_size;
static uint64_t calls;
static int last_pid, plans;

// What the input decides beside the data that is read: three calls that fail, and which clones are children.
enum { FAILING = 3 };
static struct { uint16_t call; uint8_t error; } failing[FAILING];
static uint8_t children;
static unsigned clones, answered;

enum { FDS = 4096, MAPPINGS = 4096 };
static struct file { uint8_t is_open; uint32_t mode, major, minor; int64_t type; } files[FDS];
static struct mapping { void *address; } mappings[MAPPINGS];
static size_t mapped;
static volatile uint64_t touched;

_Noreturn static void finding(const char *what) {
  fprintf(stderr, "finding: %s\n", what);
  abort();
}

// The next byte of the input; nothing left counts as zero, and a run that goes on long after that ends.
static uint8_t byte(void) {
  if (left == 0) {
    if (++calls > 20000) longjmp(fake_end, 1);
    return 0;
  }
  left--;
  return *answers++;
}

static void fill(void *into, size_t size) {
  uint8_t *out = into;
  size_t taken = size < left ? size : left;
  memcpy(out, answers, taken);
  memset(out + taken, 0, size - taken);
  answers += taken;
  left -= taken;
}

// LUNETTE_FUZZ_VERBOSE=1 tells how runs end.
static void tell(const void *bytes, size_t size) {
  const struct lnt_failure *record = bytes;
  if (size == sizeof *record && getenv("LUNETTE_FUZZ_VERBOSE"))
    fprintf(stderr, "failed: step %u, %s: error %d, %s\n", record->step, record->call, record->error, record->path);
}

static void touch(const void *bytes, size_t size) {
  tell(bytes, size);
  const uint8_t *at = bytes;
  for (size_t index = 0; index < size; index++) touched += at[index];
}
static void text(const char *text) {
  if (text) touched += strlen(text);
}

// 0, or the error that the input wants of this call.
static int answer(void) {
  answered++;
  for (int index = 0; index < FAILING; index++)
    if (failing[index].call == answered && failing[index].error > 0) return -(failing[index].error % 120) - 1;
  return 0;
}

// What a path names, as far as the shim looks: devices by name, tables and logs, folders otherwise.
static struct file named(const char *path) {
  static const struct { const char *part; struct file file; } known[] = {
      {"null", {1, 0020666, 1, 3, 0}},   {"zero", {1, 0020666, 1, 5, 0}},     {"full", {1, 0020666, 1, 7, 0}},  {"urandom", {1, 0020666, 1, 9, 0}},
      {"random", {1, 0020666, 1, 8, 0}}, {"ptmx", {1, 0020666, 5, 2, LNT_DEVPTS_MAGIC}}, {"tty", {1, 0020666, 5, 0, 0}}, {"passwd", {1, 0100644, 0, 0, LNT_PROC_MAGIC}},
      {"group", {1, 0100644, 0, 0, LNT_PROC_MAGIC}},  {"log", {1, 0100600, 0, 0, LNT_PROC_MAGIC}},      {"exit", {1, 0100600, 0, 0, LNT_PROC_MAGIC}},  {"true", {1, 0100755, 0, 0, 0}},
      {"host", {1, 0100644, 0, 0, LNT_PROC_MAGIC}},   {"resolv", {1, 0100644, 0, 0, LNT_PROC_MAGIC}},
  };
  struct file folder = {1, 0040755, 0, 0, LNT_PROC_MAGIC};
  if (path)
    for (size_t index = 0; index < sizeof known / sizeof *known; index++)
      if (strstr(path, known[index].part)) return known[index].file;
  return folder;
}

static int descriptor_of(int least, struct file file) {
  int result = answer();
  if (result < 0) return result;
  for (int fd = least < 0 ? 0 : least; fd < FDS; fd++)
    if (!files[fd].is_open) {
      files[fd] = file;
      files[fd].is_open = 1;
      return fd;
    }
  return -24;
}
static int descriptor(int least) { return descriptor_of(least, named(NULL)); }

void fake_begin(const uint8_t *plan_bytes, size_t plan_bytes_size, const uint8_t *answer_bytes, size_t size) {
  plan = plan_bytes;
  plan_size = plan_bytes_size;
  answers = answer_bytes;
  left = size;
  calls = 0;
  last_pid = 100;
  plans = 0;
  clones = answered = 0;
  for (int index = 0; index < FAILING; index++) {
    failing[index].call = (uint16_t)(byte() | byte() << 8);
    failing[index].error = byte();
  }
  children = byte();
  memset(files, 0, sizeof files);
  for (int fd = 0; fd < 9; fd++) files[fd] = named(NULL);
  files[3].mode = 0100600;
}

void fake_finish(void) {
  for (size_t index = 0; index < mapped; index++) free(mappings[index].address);
  mapped = 0;
}

static void *remember(void *address) {
  if (mapped == MAPPINGS) {
    free(address);
    longjmp(fake_end, 1);
  }
  mappings[mapped++].address = address;
  return address;
}

// --- memory. Each mapping ends where it was asked to, so that the address sanitizer sees what a page would hide.

void *lnt_map_anonymous(size_t size) {
  if (size > (64u << 20)) return NULL;
  return answer() < 0 ? NULL : remember(calloc(1, size ? size : 1));
}
void *lnt_map_file(int fd, size_t size) {
  (void)fd;
  if (size > (16u << 20)) return NULL;
  uint8_t *address = malloc(size ? size : 1);
  size_t taken = size < plan_size ? size : plan_size;
  memcpy(address, plan, taken);
  memset(address + taken, 0, size - taken);
  // The first is the container's, each later one an exec's.
  if (plans++ > 0 && taken >= sizeof(struct lnt_plan_header)) ((struct lnt_plan_header *)(void *)address)->kind = LNT_PLAN_EXEC;
  return remember(address);
}
int lnt_unmap(void *address, size_t size) {
  (void)size;
  for (size_t index = 0; index < mapped; index++)
    if (mappings[index].address == address) {
      free(address);
      mappings[index] = mappings[--mapped];
      return 0;
    }
  finding("unmaps what isn't mapped");
}
void lnt_map_program(void) {}

// --- plain functions

ssize_t lnt_find_byte(const void *in, int wanted, size_t size) {
  const uint8_t *found = memchr(in, wanted, size);
  return found ? found - (const uint8_t *)in : -1;
}
size_t lnt_length(const char *text) { return strlen(text); }
int lnt_same(const void *left_bytes, const void *right, size_t size) { return memcmp(left_bytes, right, size) == 0; }
uint64_t lnt_clock_realtime(void) { return 1700000000000000000u + ++calls * 1000000; }
uint64_t lnt_clock_monotonic(void) { return 1000000000u + ++calls * 100000000; }
int lnt_getpid(void) { return 99; }
int lnt_getppid(void) { return answer() == 0 ? 99 : 1; }
void lnt_umask(mode_t mask) { (void)mask; }
void lnt_reset_signals(void) {}
void lnt_forget_children(void) {}
_Noreturn void lnt_exit(int code) {
  if (getenv("LUNETTE_FUZZ_VERBOSE")) fprintf(stderr, "exit %d\n", code);
  longjmp(fake_end, 1);
}
int lnt_execve(const char *path, const char *const *argv, const char *const *envp) {
  text(path);
  for (; *argv; argv++) text(*argv);
  for (; *envp; envp++) text(*envp);
  int result = answer();
  if (getenv("LUNETTE_FUZZ_VERBOSE")) fprintf(stderr, "execve %s: %d\n", path, result);
  if (result == 0) longjmp(fake_end, 1);
  return result;
}

// --- processes

int lnt_clone3(uint64_t flags, int *pidfd, int exit_signal, int cgroup) {
  (void)flags, (void)exit_signal, (void)cgroup;
  int result = answer();
  if (result < 0) return result;
  if (children >> (clones++ & 7) & 1) return 0;
  if (pidfd) *pidfd = descriptor(0);
  return ++last_pid;
}
int lnt_wait(pid_t pid, int *status, int block) {
  uint8_t value = byte();
  if (value == 0 && !block) return 0;
  if (value > 250) return -10;
  *status = byte() | byte() << 8;
  return pid > 0 ? pid : 101 + value % 4;
}
int lnt_wait_pidfd(int pidfd, int *status, int block) {
  (void)pidfd, (void)block;
  *status = byte();
  return answer();
}
int lnt_next_signal(int fd) {
  (void)fd;
  uint8_t value = byte();
  return value & 1 ? value % 65 : 0;
}
int lnt_signalfd_all(void) { return descriptor(0); }
int lnt_kill(pid_t pid, int signal) { return answer(); }
int64_t lnt_namespace_owner(int namespace) { (void)namespace; return byte() > 250 ? -1 : byte() * 1000; }
int lnt_capget(uint64_t *effective, uint64_t *permitted, uint64_t *inheritable) {
  *effective = *permitted = *inheritable = byte();
  return answer();
}

// --- descriptors

int lnt_close(int fd) {
  if (fd < 0 || fd >= FDS) return -9;
  // The handed ones, and the number that the gate moves to, may be closed on suspicion.
  if (!files[fd].is_open && fd > 6) finding("closes a descriptor that it doesn't hold");
  files[fd].is_open = 0;
  return 0;
}
int lnt_close_range(unsigned first, unsigned last, unsigned flags) {
  for (unsigned fd = first; flags == 0 && fd <= last && fd < FDS; fd++) files[fd].is_open = 0;
  return answer();
}
int lnt_dup(int fd, int at_least) { return fd < 0 || fd >= FDS ? -9 : descriptor_of(at_least, files[fd]); }
int lnt_dup2(int fd, int to) {
  if (fd < 0 || to < 0 || to >= FDS) return -9;
  int result = answer();
  if (result == 0) files[to] = fd < FDS ? files[fd] : named(NULL);
  return result < 0 ? result : to;
}
int lnt_pipe(int *both, int flags) {
  (void)flags;
  both[0] = descriptor(0);
  if (both[0] < 0) return both[0];
  both[1] = descriptor(0);
  if (both[1] < 0) {
    lnt_close(both[0]);
    return both[1];
  }
  return 0;
}
int lnt_socketpair(int type, int *both) { return lnt_pipe(both, type); }
int lnt_accept(int fd) { (void)fd; return byte() & 1 ? -11 : descriptor(0); }
int lnt_get_flags(int fd) { (void)fd; return byte(); }

// --- files

static int status_of(struct file file, struct lnt_file_status *out) {
  static const uint32_t modes[] = {0040755, 0100644, 0020666, 0010600, 0140600, 0120777, 0060600, 0100755};
  memset(out, 0, sizeof *out);
  int result = answer();
  if (result < 0) return result;
  uint8_t value = byte();
  // Now and then something else than its name says.
  out->mode = value < 240 ? file.mode : modes[value & 7];
  out->size = value < 200 ? plan_size : value == 201 ? 0 : value == 202 ? INT64_MAX : value;
  out->inode = out->device = value;
  out->device_major = file.major;
  out->device_minor = file.minor;
  return 0;
}
int lnt_fstat(int fd, struct lnt_file_status *out) { return fd < 0 || fd >= FDS || !files[fd].is_open ? -9 : status_of(files[fd], out); }
int lnt_fstatat(int dir, const char *path, int flags, struct lnt_file_status *out) {
  text(path);
  struct file file = named(path);
  // A program is found where it is looked for.
  if (strstr(path, "bin")) file.mode = 0100755;
  return status_of(file, out);
}
int64_t lnt_fstatfs_type(int fd, uint64_t *flags) {
  if (fd < 0 || fd >= FDS) return -9;
  uint8_t value = byte();
  if (flags) *flags = value & 1;
  int result = answer();
  return result < 0 ? result : value > 250 ? 0x62656572 : files[fd].type;
}
ssize_t lnt_read(int fd, void *into, size_t size) {
  if (fd < 0) return -9;
  int result = answer();
  if (result < 0) return result;
  // GO: the slots with their trees, and the files of cgroups, all or none. The child that reads them was cloned before the host's steps, so
  // they are made here.
  if (size == (LNT_SLOTS + LNT_CGROUP_FILES) * sizeof(int)) {
    int *slots = into, *files = slots + LNT_SLOTS;
    for (int slot = 0; slot < LNT_SLOTS; slot++) slots[slot] = slot < 24 ? descriptor(0) : -1;
    int joins = byte() < 128;
    for (int file = 0; file < LNT_CGROUP_FILES; file++) files[file] = joins ? descriptor(0) : -1;
    return (ssize_t)size;
  }
  // OPEN, at the gate's own number; a courier's word otherwise.
  if (size == 4) {
    *(uint32_t *)into = byte() > 250 ? byte() : fd == 3 ? 103 : 0;
    return 4;
  }
  if (left == 0) return 0;
  uint8_t value = byte();
  if (value > 250) return -11;
  size_t count = value < 128 ? value : (size_t)value * 64;
  if (count > size) count = size;
  fill(into, count);
  return (ssize_t)count;
}
ssize_t lnt_pread(int fd, void *into, size_t size, int64_t offset) {
  (void)offset;
  return lnt_read(fd, into, size);
}
ssize_t lnt_write(int fd, const void *from, size_t size) {
  touch(from, size);
  if (fd < 0) return -9;
  int result = answer();
  if (result < 0) return result;
  if (size < 64) return (ssize_t)size;
  uint8_t value = byte();
  return value > 250 ? -11 : (ssize_t)(value < 200 ? size : value % (size + 1));
}
int lnt_write_all(int fd, const void *from, size_t size) {
  touch(from, size);
  return fd < 0 ? -9 : answer();
}
int lnt_getcwd(char *into, size_t size) {
  int is_outside = answer() < 0;
  const char *where = is_outside ? "(unreachable)/x" : "/x";
  if (size < strlen(where) + 1) return -34;
  strcpy(into, where);
  return (int)strlen(where) + 1;
}

// --- messages

int lnt_receive(int fd, void *into, size_t size, struct lnt_received *out, int block) {
  (void)fd, (void)block;
  static const size_t sizes[] = {
      sizeof(struct lnt_message), sizeof(struct lnt_attach), sizeof(struct lnt_signal), sizeof(struct lnt_resize), sizeof(struct lnt_failure), 8, 16, 24, 4, 12,
  };
  memset(out, 0, sizeof *out);
  uint8_t value = byte();
  if (left == 0 || value < 32) return -11;
  if (value < 40) return 0;
  if (value < 44) return -90;
  size_t count = value < 220 ? sizes[value % (sizeof sizes / sizeof *sizes)] : byte() * 4u;
  if (count > size) return -90;
  fill(into, count);
  // Kinds of message that there are, mostly.
  if (count >= 4 && value & 1) *(uint32_t *)into = ((uint8_t *)into)[0] % 12;
  out->size = (ssize_t)count;
  uint8_t who = byte();
  out->pid = 101 + (who & 3);
  out->uid = out->gid = 100000u + who;
  for (uint32_t wanted = who >> 5; out->count < wanted; out->count++) {
    int fd_received = descriptor(0);
    if (fd_received < 0) break;
    out->fds[out->count] = fd_received;
  }
  return 0;
}
ssize_t lnt_send(int fd, const void *data, size_t size, const int *fds, size_t count, int block) {
  (void)block;
  touch(data, size);
  for (size_t index = 0; index < count; index++) touched += (uint64_t)fds[index];
  if (fd < 0) return -9;
  int result = answer();
  return result < 0 ? result : (ssize_t)size;
}
int lnt_send_socket(int fd, const void *data, size_t size) {
  touch(data, size);
  (void)fd;
  uint8_t value = byte();
  return value > 250 ? -11 : value > 245 ? -88 : (int)(value < 200 ? size : value % (size + 1));
}
int lnt_wait_ready(struct lnt_poll *list, size_t count, int64_t milliseconds) {
  (void)milliseconds;
  // Nothing will ever happen again.
  if (left == 0) longjmp(fake_end, 1);
  uint8_t value = byte();
  for (size_t index = 0; index < count; index++) {
    list[index].revents = 0;
    if (list[index].fd < 0) continue;
    if (list[index].fd >= FDS || !files[list[index].fd].is_open) finding("waits for a descriptor that it doesn't hold");
    if (value >> (index & 7) & 1) list[index].revents = list[index].events ? list[index].events : LNT_HUP;
  }
  return 1;
}

// --- calls that only succeed or fail, and those that open something

#define ANSWERS(name, parameters, uses) int name parameters { uses; return answer(); }
#define OPENS(name, parameters, uses) int name parameters { uses; return descriptor(0); }
#define OPENS_PATH(name, parameters) int name parameters { text(path); return descriptor_of(0, named(path)); }

ANSWERS(lnt_unshare, (uint64_t flags),)
ANSWERS(lnt_setns, (int fd, uint64_t kinds),)
OPENS(lnt_pidfd_open, (pid_t pid),)
ANSWERS(lnt_pidfd_send_signal, (int pidfd, int signal),)
ANSWERS(lnt_prctl, (int option, unsigned long argument),)
ANSWERS(lnt_capset, (uint64_t effective, uint64_t permitted, uint64_t inheritable),)
ANSWERS(lnt_set_ids, (uid_t uid, gid_t gid),)
uid_t lnt_effective_uid(void) { return byte() & 1 ? 1000 : 0; }
ANSWERS(lnt_act_as, (uid_t uid),)
ANSWERS(lnt_set_fsids, (uid_t uid, gid_t gid),)
ANSWERS(lnt_sethostname, (const char *name), text(name))
ANSWERS(lnt_setdomainname, (const char *name), text(name))
ANSWERS(lnt_setsid, (void), )
ANSWERS(lnt_setgroups, (const gid_t *groups, size_t count), touch(groups, count * sizeof *groups))
ANSWERS(lnt_raise_ambient, (int capability),)
ANSWERS(lnt_prlimit, (pid_t pid, int resource, uint64_t soft, uint64_t hard),)
ANSWERS(lnt_join_session_keyring, (void), )
int lnt_seccomp_load(const void *program, size_t count, unsigned flags) {
  touch(program, count * 8);
  return flags & 8 ? descriptor(0) : answer();
}

OPENS_PATH(lnt_open_tree, (int dir, const char *path, unsigned flags))
ANSWERS(lnt_move_mount, (int from, const char *from_path, int to, const char *to_path, unsigned flags),
        text(from_path); text(to_path))
ANSWERS(lnt_mount_setattr,
        (int dir, const char *path, unsigned flags, uint64_t set, uint64_t clear, uint64_t propagation, int userns),
        text(path))
OPENS(lnt_fsopen, (const char *type), text(type))
ANSWERS(lnt_fsconfig_string, (int fs, const char *key, const char *value), text(key); text(value))
ANSWERS(lnt_fsconfig_flag, (int fs, const char *key), text(key))
ANSWERS(lnt_fsconfig_fd, (int fs, const char *key, int fd), text(key))
ANSWERS(lnt_fsconfig_create, (int fs),)
OPENS(lnt_fsmount, (int fs, uint64_t attributes),)
ANSWERS(lnt_pivot_root, (const char *new_root, const char *put_old), text(new_root); text(put_old))
ANSWERS(lnt_mount, (const char *source, const char *target, const char *type, unsigned long flags, const char *data),
        text(source); text(target); text(type); text(data))
ANSWERS(lnt_umount, (const char *target, int flags), text(target))
OPENS(lnt_overlay_by_number, (const char *options, const char *target), text(options); text(target))

OPENS(lnt_watch_v1, (int file, const char *control), text(control))

OPENS_PATH(lnt_open, (const char *path, int flags, mode_t mode))
OPENS_PATH(lnt_openat, (int dir, const char *path, int flags, mode_t mode))
OPENS_PATH(lnt_openat2, (int dir, const char *path, uint64_t flags, uint64_t mode, uint64_t resolve))
ANSWERS(lnt_mkdirat, (int dir, const char *path, mode_t mode), text(path))
ANSWERS(lnt_symlinkat, (const char *target, int dir, const char *path), text(target); text(path))
ANSWERS(lnt_renameat2, (int from, const char *from_path, int to, const char *to_path, unsigned flags),
        text(from_path); text(to_path))
ANSWERS(lnt_unlinkat, (int dir, const char *path, int flags), text(path))
ANSWERS(lnt_linkat, (int from, const char *from_path, int to, const char *to_path, int flags),
        text(from_path); text(to_path))
ANSWERS(lnt_fchown, (int fd, uid_t uid, gid_t gid),)
ANSWERS(lnt_fchmod, (int fd, mode_t mode),)
int lnt_landlock_abi(void) { return byte() % 8; }
OPENS(lnt_landlock_create, (uint64_t files, uint64_t network, uint64_t scopes),)
ANSWERS(lnt_landlock_allow_path, (int ruleset, int fd, uint64_t access),)
ANSWERS(lnt_landlock_allow_port, (int ruleset, uint64_t port, uint64_t access),)
ANSWERS(lnt_landlock_restrict, (int ruleset),)
ANSWERS(lnt_fsync, (int fd),)
ANSWERS(lnt_ftruncate, (int fd, int64_t size),)
OPENS(lnt_memfd_create, (const char *name, unsigned flags), text(name))
ANSWERS(lnt_seal, (int fd, int seals),)
ANSWERS(lnt_set_nonblocking, (int fd, int on),)
ANSWERS(lnt_set_pipe_size, (int fd, int size),)
ANSWERS(lnt_fchdir, (int fd),)
ANSWERS(lnt_chdir, (const char *path), text(path))
ANSWERS(lnt_is_executable, (const char *path), text(path))
ANSWERS(lnt_flock, (int fd, int operation),)

OPENS(lnt_listen_at, (int dir, const char *name, int backlog), text(name))
OPENS(lnt_connect_to, (const char *path, int seconds), text(path))
ANSWERS(lnt_pass_credentials, (int fd),)
ANSWERS(lnt_raise_loopback, (void), )
OPENS(lnt_open_terminal_peer, (int master),)
ANSWERS(lnt_is_terminal, (int fd),)
ANSWERS(lnt_set_terminal_size, (int fd, unsigned rows, unsigned columns),)
ANSWERS(lnt_make_controlling_terminal, (int fd),)

ANSWERS(lnt_sched_setattr, (pid_t pid, const struct lnt_scheduling *how), touch(how, sizeof *how))
ANSWERS(lnt_ioprio_set, (pid_t pid, int value), )
ANSWERS(lnt_set_affinity, (pid_t pid, const void *mask, size_t size), touch(mask, size))
ANSWERS(lnt_personality, (unsigned long domain), )
ANSWERS(lnt_set_mempolicy, (int mode, const void *mask, size_t bits), touch(mask, (bits + 7) / 8))
ANSWERS(lnt_mknodat, (int dir, const char *path, mode_t mode, unsigned major, unsigned minor), text(path))
ANSWERS(lnt_fchmodat, (int dir, const char *path, mode_t mode), text(path))
ANSWERS(lnt_fchownat, (int dir, const char *path, uid_t uid, gid_t gid, int flags), text(path))

ssize_t lnt_readlinkat(int dir, const char *path, char *into, size_t size) {
  text(path);
  int result = answer();
  if (result < 0) return result;
  size_t count = byte();
  if (count >= size) count = size - 1;
  fill(into, count);
  into[count] = 0;
  return (ssize_t)strlen(into);
}
int lnt_next_entry(int dir, void *buffer, size_t size, size_t *filled, size_t *at, char *name) {
  touch(buffer, size);
  *filled = size;
  ++*at;
  int result = answer();
  if (result < 0) return result;
  uint8_t length = byte();
  if (left == 0 || length == 0) return 0;
  fill(name, length);
  name[length] = 0;
  return 1;
}
ssize_t lnt_copy_bytes(int from, int to, size_t size) {
  int result = answer();
  return result < 0 ? result : left == 0 ? 0 : (ssize_t)(byte() % (size + 1));
}
int lnt_get_limit(int resource, uint64_t *soft, uint64_t *hard) {
  *soft = *hard = (uint64_t)byte() << 32;
  return answer();
}
ANSWERS(lnt_move_network_device, (const char *name, const char *new_name, int netns), text(name); text(new_name))
