// Landlock: what a process and its children may still do with files, TCP ports and other processes. See landlock(7).
#pragma once
#include <stdint.h>

// The kernel's bits. A right that no rule gives is refused only when the ruleset handles it.
enum lnt_landlock_file_right {
  LNT_LANDLOCK_EXECUTE = 1 << 0,
  LNT_LANDLOCK_WRITE_FILE = 1 << 1,
  LNT_LANDLOCK_READ_FILE = 1 << 2,
  LNT_LANDLOCK_READ_DIR = 1 << 3,
  LNT_LANDLOCK_REMOVE_DIR = 1 << 4,
  LNT_LANDLOCK_REMOVE_FILE = 1 << 5,
  LNT_LANDLOCK_MAKE_CHAR = 1 << 6,
  LNT_LANDLOCK_MAKE_DIR = 1 << 7,
  LNT_LANDLOCK_MAKE_REG = 1 << 8,
  LNT_LANDLOCK_MAKE_SOCK = 1 << 9,
  LNT_LANDLOCK_MAKE_FIFO = 1 << 10,
  LNT_LANDLOCK_MAKE_BLOCK = 1 << 11,
  LNT_LANDLOCK_MAKE_SYM = 1 << 12,
  LNT_LANDLOCK_REFER = 1 << 13,      // ABI 2
  LNT_LANDLOCK_TRUNCATE = 1 << 14,   // ABI 3
  LNT_LANDLOCK_IOCTL_DEV = 1 << 15,  // ABI 5
};
enum lnt_landlock_network_right { LNT_LANDLOCK_BIND_TCP = 1 << 0, LNT_LANDLOCK_CONNECT_TCP = 1 << 1 };              // ABI 4
enum lnt_landlock_scope { LNT_LANDLOCK_SCOPE_ABSTRACT_SOCKET = 1 << 0, LNT_LANDLOCK_SCOPE_SIGNAL = 1 << 1 };  // ABI 6

// The kernel's version of Landlock, 1 and up; -ENOSYS or -EOPNOTSUPP where it isn't built in or isn't switched on.
int lnt_landlock_abi(void);
int lnt_landlock_create(uint64_t files, uint64_t network, uint64_t scopes);
int lnt_landlock_allow_path(int ruleset, int fd, uint64_t access);
int lnt_landlock_allow_port(int ruleset, uint64_t port, uint64_t access);
// Needs no_new_privs or CAP_SYS_ADMIN.
int lnt_landlock_restrict(int ruleset);
