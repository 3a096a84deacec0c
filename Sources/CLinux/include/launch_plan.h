// The wire form of a plan, written by Sources/LunetteSpec/Launch/LaunchPlan+Encoding.swift and read by lunette-shim.
//
//   plan   = magic u64 | version u32 kind u32 | total length u64 | number of records u64 | records
//   record = opcode u16, 0 u16, payload length u32 | payload
//   number = u64; text = length u64, bytes, NUL, zeros to the next multiple of 8; list = count u64, items.
//
// Little-endian; everything starts on a multiple of 8, so a plan can be used where it is mapped: texts are C strings.
// The fields of each record are in LaunchPlan+Records.swift, in order; docs/launch-plan.md describes what they do.
#pragma once
#include <stdint.h>

#define LNT_PLAN_MAGIC 0x314E414C50544E4CULL
#define LNT_PLAN_VERSION 1u
#define LNT_PLAN_MAXIMUM (8u << 20)
#define LNT_SLOTS 256

/* How many cgroup directories a launch joins at most (v1 has one in each hierarchy). */
#define LNT_CGROUP_FILES 16

enum lnt_plan_kind { LNT_PLAN_LAUNCH = 1, LNT_PLAN_EXEC = 2 };

struct lnt_plan_header {
  uint64_t magic;
  uint32_t version;
  uint32_t kind;
  uint64_t length;
  uint64_t records;
};

struct lnt_record_header {
  uint16_t opcode;
  uint16_t zero;
  uint32_t length;
};

enum lnt_opcode {
  LNT_NAMESPACES = 1,
  LNT_JOIN_CGROUPS = 2,
  LNT_OOM_SCORE = 3,
  LNT_OPEN_TREE = 4,
  LNT_OPEN_OVERLAY = 5,
  LNT_ROOTLESS = 6,
  LNT_MOVE_NETWORK_DEVICE = 8,
  LNT_HOSTNAME = 10,
  LNT_DOMAINNAME = 11,
  LNT_RAISE_LOOPBACK = 12,
  LNT_TIME_OFFSETS = 13,
  LNT_ATTACH_ROOT = 20,
  LNT_MAKE_DIRECTORY = 21,
  LNT_MAKE_SYMLINK = 22,
  LNT_MOUNT = 23,
  LNT_ATTACH = 24,
  LNT_MOUNT_ATTRIBUTES = 25,
  LNT_WRITE_SYSCTL = 26,
  LNT_PIVOT_ROOT = 27,
  LNT_MASK_PATH = 28,
  LNT_MAKE_READONLY = 29,
  LNT_MAKE_ROOT_READONLY = 30,
  LNT_MAKE_DEVICE = 34,
  LNT_AWAIT_HOOKS = 35,
  LNT_RUN_HOOK = 36,
  LNT_ROOT_PROPAGATION = 37,
  LNT_LAST_INIT_STEP = 39,  // no record: where the init phase ends
  LNT_MAKE_ROOT = 31,
  LNT_ARGUMENTS = 40,
  LNT_ENVIRONMENT = 41,
  LNT_WORKING_DIRECTORY = 42,
  LNT_USER = 43,
  LNT_UMASK = 44,
  LNT_RLIMITS = 45,
  LNT_CAPABILITIES = 46,
  LNT_NO_NEW_PRIVILEGES = 47,
  LNT_SECCOMP = 48,
  LNT_STDIO = 49,
  LNT_LANDLOCK = 50,
  LNT_SCHEDULER = 51,
  LNT_IO_PRIORITY = 52,
  LNT_AFFINITY = 53,
  LNT_PERSONALITY = 54,
  LNT_MEMORY_POLICY = 55,
  LNT_START_HOOK = 56,
  LNT_SECCOMP_LISTENER = 58,
  LNT_MONITOR = 60,
  LNT_HANDOVER = 61,
  LNT_TREES_INSIDE = 62,
  LNT_OPEN_PRIVATE_LAYER = 63,
  LNT_ATTENDED = 64,
  // Stages that no record asks for, but that can fail.
  LNT_SET_UP = 80,
  LNT_TERMINAL = 81,
  LNT_KEYRING = 82,
  LNT_EXECUTE = 83,
};
