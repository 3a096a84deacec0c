// What the bridge's C files share; not seen by Swift.
#pragma once

#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>
#include <pthread.h>
#include <stdatomic.h>

#include "lua_bridge.h"

// Nesting deeper than this is refused in both directions, as in LunetteSpec's MessagePack.
#define LNT_DEPTH 64
// How many instructions pass between two looks at the limits.
#define LNT_HOOK_STEP 1000
// The same while there are blocks so large that one instruction may go through a megabyte.
#define LNT_LARGE_HOOK_STEP 50
#define LNT_LARGE_BLOCK ((size_t)1 << 20)
// What a state that held more gives back to the system when it is closed.
#define LNT_LARGE_STATE ((size_t)8 << 20)
// What limited code may hand the host in one call: bytes, and what each value takes on the other side.
#define LNT_CALL_LIMIT ((size_t)24 << 20)
#define LNT_VALUE_COST 32

struct lnt_counted;

// How many sizes of small blocks there are, a word apart: a bit of `filled` for each.
#define LNT_POOL_CLASSES 64

// Free memory: of one state, or of all (bridge_pool.c).
typedef struct lnt_stock {
    char *tail;              // what nobody has had yet of the last piece
    size_t tail_size;
    size_t size;             // bytes of all
    uint64_t filled;         // which lists have a block
    void *lists[LNT_POOL_CLASSES];
} lnt_stock;

struct lnt_lua {
    lua_State *main;
    lnt_lua_options options;
    lnt_stock stock;         // free blocks that this state uses next
    size_t memory;           // bytes allocated now
    size_t peak;             // the most they ever were
    int large_blocks;        // blocks of LNT_LARGE_BLOCK and more
    size_t call_cost;        // of the call that is being made
    uint64_t used;           // instructions and steps since the entry began
    uint64_t started;        // CLOCK_MONOTONIC nanoseconds when it began
    uint64_t exceeded_used, exceeded_at; // of both, when a limit was found passed
    bool is_wall_exceeded;   // it was the time
    bool was_refused;        // memory, in this entry: what it leaves is collected before the next
    char memory_place[128];  // where code ran that asked for more memory than there is; empty: unknown
    int depth;               // entries within entries (pump)
    bool is_exceeded;        // a limit was passed in this entry: every further instruction raises
    bool is_broken;          // the stdlib's own scheduler was stopped in the middle
    bool is_closing;
    int line_mask;           // LUA_MASKLINE while lines are counted
    struct lnt_counted *counted;
    // The coroutine that runs now; guarded, because an interrupt comes from another thread.
    pthread_mutex_t lock;
    lua_State *current;
    atomic_bool is_interrupted;
};

// Bytes handed to a coroutine by pointer; they live until lua_resume returns.
typedef struct lnt_packet {
    int32_t status;
    const uint8_t *data;
    size_t length;
} lnt_packet;

// As realloc of a block that Lua says to be `held` bytes; of a new one where `block` is NULL. NULL when there is no memory; never when the
// block gets smaller.
void *lnt_pool_resize(lnt_stock *stock, void *block, size_t held, size_t size);
void lnt_pool_free(lnt_stock *stock, void *block, size_t size);
// Lets other states have what is free: before a state rests, and after it is closed.
void lnt_pool_share(lnt_stock *stock);
// Joins what is free for all, and gives back the chunks that are free as a whole.
void lnt_pool_tidy(void);

static inline lnt_lua *lnt_state(lua_State *L) { return *(lnt_lua **)lua_getextraspace(L); }

// The addresses of these name things in the registry or stand for themselves.
extern const char lnt_wait_sentinel;   // what a coroutine yields when it waits for the host
extern const char lnt_entries_key;     // registry: the stdlib's entries
extern const char lnt_array_key;       // registry: metatable of lists that were empty in JSON
extern const char lnt_limit_error_key; // registry: the error raised when a limit is passed
extern const char lnt_interrupt_error_key;
extern const char lnt_view_key;        // in a metatable: the table behind a read-only view

// Appends the value at `index` to `out`. Never raises. Returns 0, or < 0 with a text in `problem`.
int lnt_encode(lua_State *L, int index, lnt_bytes *out, char *problem, size_t problem_size);
int lnt_encode_array_header(lnt_bytes *out, size_t count);
int lnt_encode_text(lnt_bytes *out, const char *text, size_t length);
int lnt_encode_integer(lnt_bytes *out, int64_t number);

// Pushes the one value that fills the bytes; raises when they are malformed. `keeps_null`: nil is pushed as null, else left out.
void lnt_decode(lua_State *L, const uint8_t *data, size_t length, bool keeps_null);
// Pushes each item of the array that fills the bytes; returns how many.
int lnt_decode_items(lua_State *L, const uint8_t *data, size_t length, bool keeps_null);

// coroutine.resume through which a wait passes up to the task, and the scheduler's own (bridge_coroutine.c).
int lnt_coroutine_resume(lua_State *L);
int lnt_task_resume(lua_State *L);
int lnt_is_closing(lua_State *L);

// Bounded find, match, gmatch, gsub (bridge_patterns.c).
void lnt_register_patterns(lua_State *L);

// The rest whose loops are in C: lists, texts, load, collectgarbage (bridge_bounded.c).
void lnt_register_bounded(lua_State *L);

// How many instructions pass between two looks now.
int lnt_hook_step(const lnt_lua *state);
// `load` of limited states.
int lnt_load_text(lua_State *L);

// Counts work done inside a C function of a limited state; raises when a limit is passed.
void lnt_count_steps(lua_State *L, uint64_t steps);
void lnt_hook(lua_State *L, lua_Debug *activation);

// Counted lines (bridge_lines.c).
void lnt_count_line(lua_State *L, lnt_lua *state, lua_Debug *activation);
void lnt_forget_lines(lnt_lua *state);
