// What an engine and a lunette-shim say to each other over SOCK_SEQPACKET: one message = one packet = one of these structs.
//
//   engine                         shim
//     │ spawn, fd 3 plan, 4 socket   │
//     │ ◄──────────── STATE (launching)
//     │ ◄──────────── CREATED         │   or FAILED, then the shim is gone and nothing is left
//     │ START [fds] ────────────────► │   may be sent before CREATED: the gate then opens at once
//     │ ◄──────────── STARTED         │   execve worked; or FAILED
//     │ SIGNAL, RESIZE, ATTACH, EXEC ►│
//     │ ◄──────────── DONE (to each request, with its id)
//     │ ◄──────────── EXEC_STARTED / EXEC_EXITED / SINK_DROPPED
//     │ ◄──────────── EXITED          │   the moment the program ended
//     │ RELEASE ────────────────────► │   the shim leaves (also when nobody is connected after the exit)
//
// A plan with a handover record is another story, drawn in Sources/lunette-shim/Handover.swift: RELEASE then means "leave the container to
// who waits for it", and CREATED may bring the pty's master.
//
// Whoever connects to shim.sock is first told STATE. Every event goes to every connection. An engine sends nothing but requests.
// Integers are the machine's own; sender and receiver are of one installation (LNT_SHIM_VERSION is checked in STATE).
#pragma once
#include <stdint.h>

#define LNT_SHIM_VERSION 1u
#define LNT_MESSAGE_MAXIMUM 1024
#define LNT_EXECS 64
#define LNT_EXEC_KEY 16
#define LNT_EXECS_REMEMBERED 32
#define LNT_CONNECTIONS 16

enum lnt_message_type {
  // requests
  LNT_MSG_START = 1,    // fds: sinks by flags; payload lnt_attach
  LNT_MSG_SIGNAL = 2,   // lnt_signal
  LNT_MSG_EXEC = 3,     // fds: plan, then as START; payload lnt_attach
  LNT_MSG_ATTACH = 4,   // fds as START; payload lnt_attach
  LNT_MSG_RESIZE = 5,   // lnt_resize
  LNT_MSG_RELEASE = 6,  // after EXITED or FAILED: leave. Before: refused with EBUSY.
  LNT_MSG_ABORT = 7,    // kill whatever there is and leave when it ended; an unstarted container ends without EXITED
  LNT_MSG_QUERY = 8,    // answered with STATE
  LNT_MSG_CONTINUE = 10,   // answers HOOKS, and tells a plan that awaits them that the cgroups are there: the launch goes on
  LNT_MSG_CLOSE_STDIN = 9,  // lnt_signal with process set: closes the program's stdin
  LNT_MSG_DETACH = 14,  // lnt_attach: what came by the ATTACH with this process and key is let go; not the program's stdin
  // The first of all, in packets of up to eight descriptors, to a shim that was spawned ahead with its socket as descriptor 3 and nothing else:
  // what is descriptor 3, 5, 6, 7… otherwise. id = how many there are in all.
  LNT_MSG_PLAN = 12,
  LNT_MSG_AHEAD = 13,  // before PLAN, without descriptors; id = kinds of namespaces (CLONE_NEW…) that the plan is going to want new, outside a
                       // new user namespace: they are made meanwhile
  LNT_MSG_OOM_POLICY = 11,  // lnt_signal: everyone = 1: an out-of-memory kill ends all (cgroup v1; v2's kernel does it by itself)
  // events
  LNT_MSG_STATE = 32,         // lnt_state
  LNT_MSG_CREATED = 33,       // lnt_state; with the pty's master as descriptor where the monitor doesn't relay (handover, attended)
  LNT_MSG_STARTED = 34,       // lnt_state
  LNT_MSG_EXITED = 35,        // lnt_exit
  LNT_MSG_FAILED = 36,        // lnt_failure
  LNT_MSG_DONE = 37,          // lnt_done
  LNT_MSG_EXEC_STARTED = 38,  // lnt_exec_event
  LNT_MSG_EXEC_EXITED = 39,   // lnt_exec_event
  LNT_MSG_EXEC_FAILED = 40,   // lnt_failure
  LNT_MSG_HOOKS = 42,         // lnt_state: the namespaces exist, prestart and createRuntime hooks are due (handover only)
  LNT_MSG_SINK_DROPPED = 41,  // lnt_exec_event: an attached sink lagged or vanished
  LNT_MSG_OUT_OF_MEMORY = 43,  // lnt_oom: the kernel killed in the container for want of memory, and something still runs
  LNT_MSG_LISTENER = 44,      // lnt_message with one descriptor: seccomp notifications of an attended program (record `attended`)
};

struct lnt_message {
  uint32_t type;
  uint32_t id;  // of the request; an answer carries it back. 0 in events that answer nothing.
};

// Which descriptors came with a message, in this order.
enum lnt_attach_flags {
  LNT_HAS_STDIN = 1,
  LNT_HAS_STDOUT = 2,
  LNT_HAS_STDERR = 4,
  LNT_BACK_PRESSURE = 8,    // the program waits for the sinks; otherwise a sink that lags is dropped
  LNT_STDIN_KEEPS_OPEN = 16,  // the end of the given stdin doesn't end the program's stdin
};

struct lnt_attach {
  struct lnt_message message;
  uint32_t flags;
  uint32_t process;  // ATTACH: 0 = the container's program, else an exec's number
  uint32_t rows;     // initial terminal size; 0 = as in the plan
  uint32_t columns;
  // EXEC: a request that is repeated after its engine died carries the same key, and starts nothing anew: it is told what became of the
  // first (DONE, EXEC_STARTED and, when it has ended, EXEC_EXITED), its descriptors are closed. ATTACH: what DETACH names it by. Zeros = no key.
  uint8_t key[LNT_EXEC_KEY];
};

struct lnt_signal {
  struct lnt_message message;
  int32_t signal;
  uint32_t process;
  // 1 = every process of the container (init included); the program's end is then reported as usual. 2 = the program's process group.
  uint32_t everyone;
  uint32_t zero;
};

struct lnt_resize {
  struct lnt_message message;
  uint32_t process;
  uint32_t rows;
  uint32_t columns;
  uint32_t zero;
};

struct lnt_done {
  struct lnt_message message;
  int32_t error;     // 0 or an errno
  uint32_t process;  // EXEC: the exec's number
};

enum lnt_shim_state { LNT_LAUNCHING = 0, LNT_IS_CREATED = 1, LNT_IS_RUNNING = 2, LNT_IS_ENDED = 3, LNT_IS_FAILED = 4 };

enum lnt_mark { LNT_MARK_SPAWNED, LNT_MARK_NAMESPACES, LNT_MARK_TREES, LNT_MARK_READY, LNT_MARK_GO, LNT_MARK_EXECUTED, LNT_MARK_ENDED, LNT_MARKS = 8 };

struct lnt_state {
  struct lnt_message message;
  uint32_t version;
  uint32_t state;
  int32_t shim_pid;
  int32_t init_pid;     // host pid of the container's pid 1; 0 when there is none
  int32_t program_pid;  // host pid of the program; equals init_pid without an init
  int32_t host_uid;     // what the program's user is on the host
  int32_t host_gid;
  int32_t status;       // raw wait status, when ended
  uint64_t oom_kills;
  uint64_t started_at;  // CLOCK_REALTIME ns; 0 = not yet
  uint64_t ended_at;
  uint64_t log_sequence;
  uint64_t log_lost;         // lines that a full disk lost
  uint64_t marks[LNT_MARKS]; // CLOCK_MONOTONIC ns, by enum lnt_mark
};

struct lnt_exit {
  struct lnt_message message;
  int32_t status;  // raw wait status
  int32_t code;    // exit status, or 128 + signal
  int32_t signal;  // 0 = none
  int32_t program_pid;
  uint64_t oom_kills;
  uint64_t started_at;
  uint64_t ended_at;
};

struct lnt_oom {
  struct lnt_message message;
  uint64_t kills;       // of this launch
  uint64_t ends_group;  // 1 = the shim ends the others
};

struct lnt_exec_event {
  struct lnt_message message;  // id: of the EXEC request, so that whoever asked knows its own
  uint32_t process;            // the exec's number, never 0, never used twice by one shim
  int32_t pid;                 // host pid
  int32_t status;              // raw wait status (EXEC_EXITED)
  uint32_t stream;             // SINK_DROPPED: 1 stdout, 2 stderr
  uint64_t time;
};

struct lnt_failure {
  struct lnt_message message;
  uint32_t step;     // enum lnt_opcode
  uint32_t index;    // of the record in the plan
  int32_t error;     // errno
  uint32_t process;  // EXEC_FAILED: the exec's number
  char call[24];
  char path[512];    // cut at the front when longer
};
