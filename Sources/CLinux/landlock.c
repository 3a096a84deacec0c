// Landlock (landlock(7)). The structures are written out: Debian 12's headers know ABI 2, and what a newer kernel adds is given by size.
#include <errno.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "landlock.h"

#ifndef SYS_landlock_create_ruleset
#define SYS_landlock_create_ruleset 444
#define SYS_landlock_add_rule 445
#define SYS_landlock_restrict_self 446
#endif

#define RESULT(call) ({ long result_ = (call); result_ < 0 ? -errno : (int)result_; })

struct ruleset_attr {
  uint64_t handled_access_fs;   // ABI 1
  uint64_t handled_access_net;  // ABI 4
  uint64_t scoped;              // ABI 6
};

struct path_beneath_attr {
  uint64_t allowed_access;
  int32_t parent_fd;
} __attribute__((packed));

struct net_port_attr {
  uint64_t allowed_access;
  uint64_t port;
};

enum { CREATE_RULESET_VERSION = 1, RULE_PATH_BENEATH = 1, RULE_NET_PORT = 2 };

int lnt_landlock_abi(void) { return RESULT(syscall(SYS_landlock_create_ruleset, NULL, 0, CREATE_RULESET_VERSION)); }

int lnt_landlock_create(uint64_t files, uint64_t network, uint64_t scopes) {
  struct ruleset_attr attr = {files, network, scopes};
  // An older kernel refuses a structure longer than its own unless the rest is zero, and a shorter one is what it knows.
  size_t size = scopes ? 24 : network ? 16 : 8;
  return RESULT(syscall(SYS_landlock_create_ruleset, &attr, size, 0));
}

int lnt_landlock_allow_path(int ruleset, int fd, uint64_t access) {
  struct path_beneath_attr attr = {access, fd};
  return RESULT(syscall(SYS_landlock_add_rule, ruleset, RULE_PATH_BENEATH, &attr, 0));
}

int lnt_landlock_allow_port(int ruleset, uint64_t port, uint64_t access) {
  struct net_port_attr attr = {access, port};
  return RESULT(syscall(SYS_landlock_add_rule, ruleset, RULE_NET_PORT, &attr, 0));
}

int lnt_landlock_restrict(int ruleset) { return RESULT(syscall(SYS_landlock_restrict_self, ruleset, 0)); }
