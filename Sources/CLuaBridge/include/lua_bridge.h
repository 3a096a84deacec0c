// The C surface over Lua 5.4 that cannot raise.
//
// Lua's errors are longjmps and must never cross a Swift frame. So Swift sees only the functions below: each enters Lua under
// lua_pcall, and each value crosses as bytes (one MessagePack value). Lua reaches Swift through one callback shape,
// (context, in, out) -> ok | error | await; C raises or yields only after the Swift frame has returned. Everything that may allocate,
// even opening a state or making a coroutine, runs protected, so a state that is out of memory fails a call and not the process.
//
//   Swift ── lnt_lua_enter(entry, in) ──► pcall ─► Lua stdlib entry ─► user's code in coroutines
//         ◄── callback(context, in, out) ── host.call(op, …)      ok: results · error: raised · await: the coroutine yields a token
//   Swift ── lnt_lua_deliver(token, packet) ──► pcall ─► scheduler resumes the coroutine that waits for the token
//
// A state belongs to one thread; only lnt_lua_interrupt may be called from another. Functions return -errno or >= 0.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct lnt_lua lnt_lua;

// Bytes on the malloc heap. Who is given them frees them with lnt_bytes_free.
typedef struct lnt_bytes {
    uint8_t *data;
    size_t length;
    size_t capacity;
} lnt_bytes;

enum {
    LNT_LUA_OK = 0,     // out: an array of results
    LNT_LUA_ERROR = 1,  // out: an error record (LunetteError.value) or a text
    LNT_LUA_AWAIT = 2,  // out: the token that lnt_lua_deliver will name
};

// Answers a call from Lua. `in` is an array: operation, arguments; it lives until the callback returns.
typedef int32_t (*lnt_lua_callback)(void *context, const uint8_t *in, size_t length, lnt_bytes *out);

// Handles one message of the host's queue, waiting for it; used where Lua can't yield (a `require`d chunk, a sort's comparator).
// Returns < 0 when nothing can come any more.
typedef int32_t (*lnt_lua_pump)(void *context);

// Tells the time: unix seconds, or those of a monotonic clock.
typedef double (*lnt_lua_time)(void *context, bool is_unix);

typedef struct lnt_lua_options {
    void *context;
    lnt_lua_callback call;
    lnt_lua_pump pump;
    lnt_lua_time time;               // NULL: the system's clocks
    size_t memory_limit;             // bytes; 0: none
    uint64_t instruction_limit;      // VM instructions and pattern steps in one entry; 0: none
    uint64_t wall_limit_nanoseconds; // in one entry; 0: none
    bool counts_lines;               // how often each line of files runs, for lnt_lua_lines
    bool is_limited;                 // no io, os, debug, package; text chunks only; bounded string and table functions
} lnt_lua_options;

// Appends `length` bytes. Returns -ENOMEM and leaves `bytes` as it was when there is no memory.
int32_t lnt_bytes_append(lnt_bytes *bytes, const void *data, size_t length);
void lnt_bytes_free(lnt_bytes *bytes);

// Opens a state. Returns -ENOMEM.
int32_t lnt_lua_open(const lnt_lua_options *options, lnt_lua **out);

// Closes it: pending to-be-closed values and finalizers run, bounded by the limits.
void lnt_lua_close(lnt_lua *state);

// Runs a module of the stdlib with the host's functions as its argument; what it returns is the table of entries.
// Returns LNT_LUA_OK or LNT_LUA_ERROR with a text in `out`.
int32_t lnt_lua_boot(lnt_lua *state, const char *name, lnt_bytes *out);

// Calls an entry with one value. Returns LNT_LUA_OK with an array of its results, or LNT_LUA_ERROR with what it raised.
int32_t lnt_lua_enter(lnt_lua *state, const char *entry, const void *in, size_t length, lnt_bytes *out);

// Wakes what waits for `token`: `status` LNT_LUA_OK with an array of results, or LNT_LUA_ERROR with an error record.
int32_t lnt_lua_deliver(lnt_lua *state, int64_t token, int32_t status, const void *data, size_t length, lnt_bytes *out);

// Makes the code that runs now, or else next, raise `cancelled` at its next instruction; from any thread.
void lnt_lua_interrupt(lnt_lua *state);

// What was to be interrupted has been: forgets an interrupt that nothing has raised yet.
void lnt_lua_forget_interrupt(lnt_lua *state);

// Collects all garbage of a state that is at rest.
void lnt_lua_collect(lnt_lua *state);

// Gives the pages of the calling thread's stack that nothing uses now back to the system; of a thread with a stack of its own mapping.
void lnt_lua_release_stack(void);

// Gives whole pages that nothing of the process's heap is in back to the system, at most once in five seconds.
void lnt_lua_release_heap(void);

// Bytes the state holds now.
size_t lnt_lua_memory(const lnt_lua *state);

// What the call that is being answered takes on the host's side: its bytes, and more for each value.
size_t lnt_lua_call_cost(const lnt_lua *state);

// Whether a limit ended the stdlib's scheduler in the middle: what it had taken up may never be answered.
bool lnt_lua_is_broken(const lnt_lua *state);

// Changes the limits of later entries.
void lnt_lua_set_limits(lnt_lua *state, uint64_t instructions, uint64_t wall_nanoseconds);

// Tells how often lines of files ran, each that did once: `source` is the file's name.
typedef void (*lnt_lua_line)(void *context, const char *source, int32_t line, uint64_t count);
void lnt_lua_lines(const lnt_lua *state, lnt_lua_line tell, void *context);

// A module of the Lua stdlib (Sources/LunetteLua/Resources/lua/NAME.lua), or NULL. Static memory.
const void *lnt_lua_module(const char *name, size_t *length);

// Writes the number of each SIGINT, SIGTERM and SIGHUP, and of SIGPIPE with `takes_pipe`, as one byte to `write_end` from now on; -1: their
// default again.
int32_t lnt_lua_signals_watch(int32_t write_end, bool takes_pipe);

// A pipe whose ends are close-on-exec: [0] reads, [1] writes.
int32_t lnt_lua_pipe(int32_t ends[2]);

// O_PATH, which glibc shows only under _GNU_SOURCE.
int32_t lnt_lua_open_path_flag(void);

// Writes to C's stdout, which Lua's print shares, and flushes it.
void lnt_lua_print(const void *text, size_t length);
