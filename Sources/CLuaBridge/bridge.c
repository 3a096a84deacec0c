// States: opening, entering, limits, and the one function through which Lua reaches the host.

#include <errno.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bridge_internal.h"

const char lnt_wait_sentinel, lnt_entries_key, lnt_array_key, lnt_limit_error_key, lnt_interrupt_error_key, lnt_view_key;

static uint64_t clock_nanoseconds(clockid_t clock) {
    struct timespec now;
    clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

// Counts a block that grew from `held` bytes: making it took time in proportion. The allocator can't raise; the next look at the limits does.
static void note_block(lnt_lua *state, size_t held, size_t size) {
    if (size > held) state->used += size / 64;
    int change = (size >= LNT_LARGE_BLOCK) - (held >= LNT_LARGE_BLOCK);
    state->large_blocks += change;
    if (change > 0 && state->large_blocks == 1 && state->current && !state->is_exceeded && !state->is_closing) {
        lua_sethook(state->current, lnt_hook, LUA_MASKCOUNT, LNT_LARGE_HOOK_STEP);
    }
}

// Writes `chunk:line` of the nearest activation that isn't our stdlib; nothing where there is none. Makes nothing, and so can't fail.
static bool find_place(lua_State *L, char *place, size_t size) {
    lua_Debug activation;
    for (int level = 0; lua_getstack(L, level, &activation); level++) {
        lua_getinfo(L, "Sl", &activation);
        if (activation.currentline <= 0 || strncmp(activation.source, "=[lunette", 9) == 0) continue;
        snprintf(place, size, "%s:%d", activation.short_src, activation.currentline);
        return true;
    }
    return false;
}

// Notes where the code is that gets no memory. Only for new blocks: one that is to grow may be the stack itself, which can't be looked at then.
static void note_refusal(lnt_lua *state, const void *block) {
    state->was_refused = true;
    if (!block && state->current && state->depth > 0) find_place(state->current, state->memory_place, sizeof state->memory_place);
}

static void *allocate(void *context, void *block, size_t old_size, size_t new_size) {
    lnt_lua *state = context;
    // For a new block `old_size` is a type tag, not a size.
    size_t held = block ? old_size : 0;
    if (new_size == 0) {
        state->memory -= held;
        if (held >= LNT_LARGE_BLOCK && state->options.is_limited) state->large_blocks--;
        lnt_pool_free(&state->stock, block, held);
        return NULL;
    }
    size_t limit = state->options.memory_limit;
    // Shrinking must not fail (Lua's manual), and closing has to get by.
    if (limit && new_size > held && !state->is_closing && state->memory - held + new_size > limit) {
        note_refusal(state, block);
        return NULL;
    }
    void *moved = lnt_pool_resize(&state->stock, block, held, new_size);
    if (!moved) return NULL;
    state->memory = state->memory - held + new_size;
    if (state->memory > state->peak) state->peak = state->memory;
    if (state->options.is_limited) note_block(state, held, new_size);
    return moved;
}

// ---- limits ----

// Where large blocks are, one instruction can take as long as a thousand: looks are closer together.
int lnt_hook_step(const lnt_lua *state) { return state->large_blocks > 0 ? LNT_LARGE_HOOK_STEP : LNT_HOOK_STEP; }

static void raise_stored(lua_State *L, const char *key, const char *otherwise) {
    lua_rawgetp(L, LUA_REGISTRYINDEX, key);
    if (lua_isnil(L, -1)) lua_pushstring(L, otherwise);
    lua_error(L);
}

// Whether the stdlib's own code runs: its tables must stay whole, so nothing is raised there. The user's next instruction will do.
static bool is_in_stdlib(lua_State *L, lua_Debug *activation) {
    if (!lua_getinfo(L, "S", activation)) return false;
    if (strncmp(activation->source, "=[lunette", 9) == 0) return true;
    // Limited states have it without its source; `load` takes no chunk of that name there.
    return lnt_state(L)->options.is_limited && strcmp(activation->source, "=?") == 0;
}

// What is raised when a limit is passed: the stdlib's error object anew, with the limit's value and where the code was. By whatever
// runs on it is raised again and again, so that it is made once.
static void make_limit_error(lua_State *L, const lnt_lua *state) {
    char text[96], place[128];
    if (!lua_checkstack(L, 4)) return;
    if (state->is_wall_exceeded) {
        snprintf(text, sizeof text, "the code ran longer than it may (%g s)", (double)state->options.wall_limit_nanoseconds / 1e9);
    } else {
        snprintf(text, sizeof text, "the code ran longer than it may (%g million instructions)",
                 (double)state->options.instruction_limit / 1e6);
    }
    if (lua_rawgetp(L, LUA_REGISTRYINDEX, &lnt_limit_error_key) != LUA_TTABLE || !lua_getmetatable(L, -1)) {
        lua_pop(L, 1);
        return;
    }
    lua_newtable(L);
    lua_insert(L, -2);
    lua_setmetatable(L, -2);
    lua_pushliteral(L, "resource_exhausted");
    lua_setfield(L, -2, "code");
    lua_pushstring(L, text);
    lua_setfield(L, -2, "message");
    if (find_place(L, place, sizeof place)) {
        lua_pushstring(L, place);
        lua_setfield(L, -2, "where");
    }
    lua_rawsetp(L, LUA_REGISTRYINDEX, &lnt_limit_error_key);
    lua_pop(L, 1);
}

// Whether the limits are used up, counted from `used` and `started`.
static bool is_past(const lnt_lua *state, uint64_t used, uint64_t started) {
    uint64_t instructions = state->options.instruction_limit, wall = state->options.wall_limit_nanoseconds;
    return (instructions && state->used - used > instructions) || (wall && clock_nanoseconds(CLOCK_MONOTONIC) - started > wall);
}

// `activation`: where the count hook stopped; NULL inside a C function.
static void check_limits(lua_State *L, lnt_lua *state, lua_Debug *activation) {
    if (!state->is_exceeded) {
        if (!is_past(state, 0, state->started)) return;
        state->is_exceeded = true;
        state->exceeded_used = state->used;
        state->exceeded_at = clock_nanoseconds(CLOCK_MONOTONIC);
        state->is_wall_exceeded = !state->options.instruction_limit || state->used <= state->options.instruction_limit;
        make_limit_error(L, state);
    }
    // A pcall that swallows the error gets it again at its next instruction, until the entry has unwound.
    lua_sethook(L, lnt_hook, LUA_MASKCOUNT | state->line_mask, 1);
    lua_Debug caller;
    if (!activation && lua_getstack(L, 1, &caller)) activation = &caller;
    if (activation && is_in_stdlib(L, activation)) {
        // It has as much again to put its tables in order, whatever it was given to go through.
        if (!is_past(state, state->exceeded_used, state->exceeded_at)) return;
        if (L == state->main) state->is_broken = true;
    }
    raise_stored(L, &lnt_limit_error_key, "the code ran longer than it may");
}

// The hook that stands while nothing is to be interrupted.
static void set_usual_hook(lua_State *L, lnt_lua *state) {
    int mask = (state->options.is_limited ? LUA_MASKCOUNT : 0) | state->line_mask;
    lua_sethook(L, mask ? lnt_hook : NULL, mask, lnt_hook_step(state));
}

void lnt_hook(lua_State *L, lua_Debug *activation) {
    lnt_lua *state = lnt_state(L);
    int step = lnt_hook_step(state);
    if (atomic_load(&state->is_interrupted)) {
        if (is_in_stdlib(L, activation)) return;
        atomic_store(&state->is_interrupted, false);
        set_usual_hook(L, state);
        raise_stored(L, &lnt_interrupt_error_key, "interrupted");
    }
    if (activation->event == LUA_HOOKLINE) return lnt_count_line(L, state, activation);
    if (!state->options.is_limited) return set_usual_hook(L, state);
    int passed = lua_gethookcount(L);
    state->used += (uint64_t)passed;
    check_limits(L, state, activation);
    if (passed != step && !state->is_exceeded) set_usual_hook(L, state);
}

void lnt_count_steps(lua_State *L, uint64_t steps) {
    lnt_lua *state = lnt_state(L);
    if (!state->options.is_limited) return;
    state->used += steps;
    check_limits(L, state, NULL);
}

void lnt_lua_interrupt(lnt_lua *state) {
    pthread_mutex_lock(&state->lock);
    atomic_store(&state->is_interrupted, true);
    // As lua.c does from its signal handler: setting a hook is the one thing allowed from outside.
    if (state->current) lua_sethook(state->current, lnt_hook, LUA_MASKCOUNT | state->line_mask, 1);
    pthread_mutex_unlock(&state->lock);
}

void lnt_lua_forget_interrupt(lnt_lua *state) { atomic_store(&state->is_interrupted, false); }

// ---- what Lua calls ----

// Runs protected, so that a memory error while results are pushed can't leak the bytes that hold them.
static int push_items(lua_State *L) {
    const lnt_packet *packet = lua_touserdata(L, 1);
    lua_settop(L, 0);
    if (packet->status == LNT_LUA_OK) return lnt_decode_items(L, packet->data, packet->length, false);
    lnt_decode(L, packet->data, packet->length, false);
    return 1;
}


// host.call(operation, …) → results; or raises; or (wait sentinel, token).
static int host_call(lua_State *L) {
    lnt_lua *state = lnt_state(L);
    int count = lua_gettop(L);
    lnt_bytes in = {0}, out = {0};
    char problem[512];
    int failed = lnt_encode_array_header(&in, (size_t)count);
    state->call_cost = 0;
    for (int i = 1; i <= count && !failed; i++) failed = lnt_encode(L, i, &in, problem, sizeof problem);
    if (failed) {
        lnt_bytes_free(&in);
        // "host:" marks it for the stdlib, which makes an error object of it.
        lua_pushfstring(L, "host:%s", problem);
        return lua_error(L);
    }
    int32_t status = state->options.call(state->options.context, in.data, in.length, &out);
    // From here on no Swift frame is above us.
    lnt_bytes_free(&in);
    lnt_packet packet = {status == LNT_LUA_AWAIT ? LNT_LUA_OK : status, out.data, out.length};
    lua_settop(L, 0);
    if (status == LNT_LUA_AWAIT) lua_pushlightuserdata(L, (void *)&lnt_wait_sentinel);
    lua_pushcfunction(L, push_items);
    lua_pushlightuserdata(L, &packet);
    int protected_status = lua_pcall(L, 1, LUA_MULTRET, 0);
    lnt_bytes_free(&out);
    if (protected_status != LUA_OK || status == LNT_LUA_ERROR) return lua_error(L);
    return lua_gettop(L);
}

// host.pump() → true, or false when nothing can come any more.
static int host_pump(lua_State *L) {
    lnt_lua *state = lnt_state(L);
    int32_t result = state->options.pump ? state->options.pump(state->options.context) : -ENOSYS;
    lua_pushboolean(L, result >= 0);
    return 1;
}

// host.unpack(packet) → true, results… | false, error record
static int host_unpack(lua_State *L) {
    const lnt_packet *packet = lua_touserdata(L, 1);
    if (!packet) return luaL_error(L, "no packet");
    lua_settop(L, 0);
    lua_pushboolean(L, packet->status == LNT_LUA_OK);
    if (packet->status == LNT_LUA_OK) return 1 + lnt_decode_items(L, packet->data, packet->length, false);
    lnt_decode(L, packet->data, packet->length, false);
    return 2;
}

// host.decode(bytes) → value, with nulls kept
static int host_decode(lua_State *L) {
    size_t length;
    const char *bytes = luaL_checklstring(L, 1, &length);
    lnt_decode(L, (const uint8_t *)bytes, length, true);
    return 1;
}

// host.clock() → monotonic seconds; host.now() → unix seconds
static double seconds(lua_State *L, bool is_unix) {
    const lnt_lua_options *options = &lnt_state(L)->options;
    if (options->time) return options->time(options->context, is_unix);
    return (double)clock_nanoseconds(is_unix ? CLOCK_REALTIME : CLOCK_MONOTONIC) / 1e9;
}

static int host_clock(lua_State *L) {
    lua_pushnumber(L, seconds(L, false));
    return 1;
}

static int host_now(lua_State *L) {
    lua_pushnumber(L, seconds(L, true));
    return 1;
}

// host.traceback(coroutine | nil, message, level)
static int host_traceback(lua_State *L) {
    lua_State *of = lua_isthread(L, 1) ? lua_tothread(L, 1) : L;
    luaL_traceback(L, of, lua_tostring(L, 2), (int)luaL_optinteger(L, 3, of == L ? 1 : 0));
    return 1;
}

// host.where() → the chunk and line of the nearest caller that isn't our stdlib; nothing when there is none
static int host_where(lua_State *L) {
    lua_Debug activation;
    for (int level = 1; lua_getstack(L, level, &activation); level++) {
        lua_getinfo(L, "Sl", &activation);
        if (activation.currentline > 0 && strncmp(activation.source, "=[lunette", 9) != 0) {
            lua_pushstring(L, activation.short_src);
            lua_pushinteger(L, activation.currentline);
            return 2;
        }
    }
    return 0;
}

// host.place(f) → the chunk and line where a function was made; the line is below 1 for C's
static int host_place(lua_State *L) {
    luaL_checktype(L, 1, LUA_TFUNCTION);
    lua_Debug activation;
    lua_settop(L, 1);
    lua_getinfo(L, ">S", &activation);
    lua_pushstring(L, activation.short_src);
    lua_pushinteger(L, activation.linedefined);
    return 2;
}

// host.set_error(which, value): what the limits raise
static int host_set_error(lua_State *L) {
    bool is_limit = lua_toboolean(L, 1);
    lua_settop(L, 2);
    lua_rawsetp(L, LUA_REGISTRYINDEX, is_limit ? &lnt_limit_error_key : &lnt_interrupt_error_key);
    return 0;
}

// host.metatable(value) → its metatable, whatever __metatable says
static int host_metatable(lua_State *L) {
    luaL_checkany(L, 1);
    if (!lua_getmetatable(L, 1)) lua_pushnil(L);
    return 1;
}

// host.memory_limit() → bytes, and where the code was that got no more; nil when that isn't known. Forgets the place.
static int host_memory_limit(lua_State *L) {
    lnt_lua *state = lnt_state(L);
    lua_pushinteger(L, (lua_Integer)state->options.memory_limit);
    if (state->memory_place[0]) lua_pushstring(L, state->memory_place); else lua_pushnil(L);
    state->memory_place[0] = '\0';
    return 2;
}

// host.renew(): what runs next has the whole of its limits, as after an entry of its own
static int host_renew(lua_State *L) {
    lnt_lua *state = lnt_state(L);
    if (state->is_exceeded) return 0;
    state->used = 0;
    state->started = clock_nanoseconds(CLOCK_MONOTONIC);
    return 0;
}

// host.is_exceeded() → whether a limit was passed in this entry
static int host_is_exceeded(lua_State *L) {
    lua_pushboolean(L, lnt_state(L)->is_exceeded);
    return 1;
}

// host.string_metatable() → the metatable that all strings share
static int host_string_metatable(lua_State *L) {
    lua_pushliteral(L, "");
    if (!lua_getmetatable(L, -1)) return 0;
    return 1;
}

// A module of the stdlib as bytecode without names and lines, made once for all limited states of the process: loading it takes a sixth of
// the time of compiling it, and half of the memory. Never freed. Code of others is always text there, so that what has no source is ours.
typedef struct compiled {
    const char *name;
    lnt_bytes code;
    struct compiled *next;
} compiled;

static pthread_mutex_t compiled_lock = PTHREAD_MUTEX_INITIALIZER;
static compiled *compiled_modules;

static const compiled *find_compiled(const char *name) {
    pthread_mutex_lock(&compiled_lock);
    compiled *found = compiled_modules;
    while (found && strcmp(found->name, name) != 0) found = found->next;
    pthread_mutex_unlock(&compiled_lock);
    return found;
}

static int append_code(lua_State *L, const void *data, size_t length, void *out) {
    (void)L;
    return lnt_bytes_append(out, data, length);
}

// Keeps the function on top of the stack as a module's code; without memory for it the next state compiles again.
static void keep_compiled(lua_State *L, const char *name) {
    compiled *entry = calloc(1, sizeof *entry);
    if (!entry) return;
    entry->name = strdup(name);
    if (!entry->name || lua_dump(L, append_code, &entry->code, 1) != 0) {
        lnt_bytes_free(&entry->code);
        free((void *)entry->name);
        free(entry);
        return;
    }
    pthread_mutex_lock(&compiled_lock);
    entry->next = compiled_modules;
    compiled_modules = entry;
    pthread_mutex_unlock(&compiled_lock);
}

// Pushes a module's chunk; raises when it can't.
static void load_module(lua_State *L, const char *name) {
    bool is_limited = lnt_state(L)->options.is_limited;
    const compiled *known = is_limited ? find_compiled(name) : NULL;
    if (known) {
        if (luaL_loadbufferx(L, (const char *)known->code.data, known->code.length, "=[lunette]", "b") != LUA_OK) lua_error(L);
        return;
    }
    size_t length;
    const void *source = lnt_lua_module(name, &length);
    if (!source) luaL_error(L, "no stdlib module %s", name);
    lua_pushfstring(L, "=[lunette %s]", name);
    if (luaL_loadbufferx(L, source, length, lua_tostring(L, -1), "t") != LUA_OK) lua_error(L);
    lua_remove(L, -2);
    if (is_limited) {
        keep_compiled(L, name);
        // What has lines and names would be bigger for the life of this one.
        known = find_compiled(name);
        if (known) {
            lua_pop(L, 1);
            if (luaL_loadbufferx(L, (const char *)known->code.data, known->code.length, "=[lunette]", "b") != LUA_OK) lua_error(L);
        }
    }
}

// host.module(name, environment) → the chunk of a stdlib module
static int host_module(lua_State *L) {
    const char *name = luaL_checkstring(L, 1);
    lua_settop(L, 2);
    load_module(L, name);
    if (lua_istable(L, 2)) {
        lua_pushvalue(L, 2);
        if (!lua_setupvalue(L, -2, 1)) lua_pop(L, 1);
    }
    return 1;
}

// host.mark(metatable, table): encode what has this metatable as if it were `table` (a read-only view of it)
static int host_mark(lua_State *L) {
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 2);
    lua_rawsetp(L, 1, &lnt_view_key);
    return 0;
}

// Pushes the table behind a view; pushes nothing and returns false when the value at `index` is none.
static bool push_viewed(lua_State *L, int index) {
    if (!lua_istable(L, index) || !lua_getmetatable(L, index)) return false;
    if (lua_rawgetp(L, -1, &lnt_view_key) != LUA_TTABLE) {
        lua_pop(L, 2);
        return false;
    }
    lua_remove(L, -2);
    return true;
}

// host.view_of(value) → the table behind a read-only view; nil for what is none
static int host_view_of(lua_State *L) {
    luaL_checkany(L, 1);
    if (!push_viewed(L, 1)) lua_pushnil(L);
    return 1;
}

// next(table, key), which takes a view for what is behind it, and gives its items as views too
static int host_next(lua_State *L) {
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 2);
    bool is_view = push_viewed(L, 1);
    if (is_view) lua_insert(L, 2);
    if (!lua_next(L, is_view ? 2 : 1)) {
        lua_pushnil(L);
        return 1;
    }
    if (is_view) {
        lua_pop(L, 1);
        lua_pushvalue(L, -1);
        lua_gettable(L, 1);
    }
    return 2;
}

static const luaL_Reg host_functions[] = {
    {"call", host_call}, {"pump", host_pump}, {"unpack", host_unpack}, {"decode", host_decode}, {"clock", host_clock},
    {"now", host_now}, {"traceback", host_traceback}, {"where", host_where}, {"set_error", host_set_error},
    {"string_metatable", host_string_metatable}, {"resume", lnt_coroutine_resume}, {"resume_task", lnt_task_resume},
    {"module", host_module}, {"is_closing", lnt_is_closing}, {"mark", host_mark}, {"place", host_place}, {"renew", host_renew},
    {"view_of", host_view_of}, {"next", host_next},
    {"is_exceeded", host_is_exceeded}, {"memory_limit", host_memory_limit}, {"metatable", host_metatable}, {"load", lnt_load_text}, {NULL, NULL},
};

// ---- opening and entering ----

static int open_libraries(lua_State *L) {
    lnt_lua *state = lnt_state(L);
    if (!state->options.is_limited) {
        luaL_openlibs(L);
    } else {
        static const luaL_Reg safe[] = {
            {LUA_GNAME, luaopen_base}, {LUA_COLIBNAME, luaopen_coroutine}, {LUA_TABLIBNAME, luaopen_table}, {LUA_STRLIBNAME, luaopen_string},
            {LUA_MATHLIBNAME, luaopen_math}, {LUA_UTF8LIBNAME, luaopen_utf8},
        };
        for (size_t i = 0; i < sizeof safe / sizeof *safe; i++) {
            luaL_requiref(L, safe[i].name, safe[i].func, 1);
            lua_pop(L, 1);
        }
        lnt_register_patterns(L);
        lnt_register_bounded(L);
    }
    lua_newtable(L);
    lua_pushliteral(L, "lunette.list");
    lua_setfield(L, -2, "__name");
    if (state->options.is_limited) {
        lua_pushboolean(L, false);
        lua_setfield(L, -2, "__metatable");
    }
    lua_rawsetp(L, LUA_REGISTRYINDEX, &lnt_array_key);
    return 0;
}

static int panic(lua_State *L) {
    // Unreachable while every entry is protected; Lua aborts after this.
    const char *text = lua_tostring(L, -1);
    fprintf(stderr, "lunette: unprotected Lua error: %s\n", text ? text : "?");
    return 0;
}

int32_t lnt_lua_open(const lnt_lua_options *options, lnt_lua **out) {
    lnt_lua *state = calloc(1, sizeof *state);
    if (!state) return -ENOMEM;
    state->options = *options;
    pthread_mutex_init(&state->lock, NULL);
    state->main = lua_newstate(allocate, state);
    if (!state->main) {
        lnt_pool_share(&state->stock);
        free(state);
        return -ENOMEM;
    }
    *(lnt_lua **)lua_getextraspace(state->main) = state;
    state->current = state->main;
    state->started = clock_nanoseconds(CLOCK_MONOTONIC);
    lua_atpanic(state->main, panic);
    lua_pushcfunction(state->main, open_libraries);
    if (lua_pcall(state->main, 0, 0, 0) != LUA_OK) {
        lnt_lua_close(state);
        return -ENOMEM;
    }
    // Coroutines inherit the hook of the one that makes them.
    if (options->counts_lines) state->line_mask = LUA_MASKLINE;
    set_usual_hook(state->main, state);
    *out = state;
    return 0;
}

void lnt_lua_close(lnt_lua *state) {
    if (!state) return;
    state->is_closing = true;
    state->used = 0;
    state->started = clock_nanoseconds(CLOCK_MONOTONIC);
    state->is_exceeded = false;
    lua_close(state->main);
    lnt_forget_lines(state);
    lnt_pool_share(&state->stock);
    // malloc keeps what was freed in its arenas: sixteen of them, each as large as the largest state it ever had; the pool keeps its chunks.
    if (state->peak > LNT_LARGE_STATE) {
        lnt_pool_tidy();
        malloc_trim(0);
    }
    pthread_mutex_destroy(&state->lock);
    free(state);
}

// What a protected entry needs; lives on the C stack of the entry.
typedef struct entry {
    const char *name;
    const void *data;
    size_t length;
    lnt_packet *packet;
    int64_t token;
} entry;

// What `lunette.null` is as text; other light userdata (a C module's) as Lua has it.
static int null_text(lua_State *L) {
    const void *pointer = lua_touserdata(L, 1);
    if (pointer) lua_pushfstring(L, "userdata: %p", pointer); else lua_pushliteral(L, "lunette.null");
    return 1;
}

static void name_null(lua_State *L) {
    lua_pushlightuserdata(L, NULL);
    lua_createtable(L, 0, 2);
    lua_pushcfunction(L, null_text);
    lua_setfield(L, -2, "__tostring");
    lua_pushboolean(L, false);
    lua_setfield(L, -2, "__metatable");
    lua_setmetatable(L, -2);
    lua_pop(L, 1);
}

static int run_boot(lua_State *L) {
    const entry *what = lua_touserdata(L, 1);
    lua_settop(L, 0);
    name_null(L);
    load_module(L, what->name);
    luaL_newlib(L, host_functions);
    lua_pushlightuserdata(L, (void *)&lnt_wait_sentinel);
    lua_setfield(L, -2, "WAIT");
    lua_pushlightuserdata(L, NULL);
    lua_setfield(L, -2, "null");
    lua_rawgetp(L, LUA_REGISTRYINDEX, &lnt_array_key);
    lua_setfield(L, -2, "list_metatable");
    lua_pushboolean(L, lnt_state(L)->options.is_limited);
    lua_setfield(L, -2, "is_limited");
    lua_call(L, 1, 1);
    luaL_checktype(L, -1, LUA_TTABLE);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &lnt_entries_key);
    return 0;
}

static void push_entry(lua_State *L, const char *name) {
    lua_rawgetp(L, LUA_REGISTRYINDEX, &lnt_entries_key);
    luaL_checktype(L, -1, LUA_TTABLE);
    lua_getfield(L, -1, name);
    lua_remove(L, -2);
}

static int run_entry(lua_State *L) {
    const entry *what = lua_touserdata(L, 1);
    lua_settop(L, 0);
    push_entry(L, what->name);
    if (what->packet) {
        lua_pushinteger(L, what->token);
        lua_pushlightuserdata(L, what->packet);
        lua_call(L, 2, 0);
        return 0;
    }
    lnt_decode(L, what->data, what->length, false);
    lua_call(L, 1, LUA_MULTRET);
    return lua_gettop(L);
}

static void begin(lnt_lua *state) {
    if (state->depth++ > 0) return;
    state->used = 0;
    state->is_exceeded = false;
    state->memory_place[0] = '\0';
    state->started = clock_nanoseconds(CLOCK_MONOTONIC);
}

static int tostring_protected(lua_State *L) {
    luaL_tolstring(L, 1, NULL);
    return 1;
}

// Writes what was raised: a record where it is one, else a text.
static int32_t report(lnt_lua *state, lnt_bytes *out) {
    lua_State *L = state->main;
    char problem[256];
    if (lnt_encode(L, -1, out, problem, sizeof problem) != 0) {
        out->length = 0;
        lua_pushcfunction(L, tostring_protected);
        lua_insert(L, -2);
        const char *text = lua_pcall(L, 1, 1, 0) == LUA_OK ? lua_tostring(L, -1) : NULL;
        if (!text) text = "not enough memory";
        lnt_encode_text(out, text, strlen(text));
    } else if (out->length <= 32 && state->options.memory_limit && lua_type(L, -1) == LUA_TSTRING
               && strcmp(lua_tostring(L, -1), "not enough memory") == 0) {
        // Whoever reads it should know how much there is.
        char text[192];
        const char *place = state->memory_place;
        snprintf(text, sizeof text, "%s%snot enough memory (%zu MiB)", place, *place ? ": " : "", state->options.memory_limit >> 20);
        out->length = 0;
        lnt_encode_text(out, text, strlen(text));
    }
    return LNT_LUA_ERROR;
}

static int32_t enter(lnt_lua *state, lua_CFunction function, const entry *what, lnt_bytes *out) {
    lua_State *L = state->main;
    int top = lua_gettop(L);
    begin(state);
    int32_t result = LNT_LUA_OK;
    if (!lua_checkstack(L, 8)) {
        lnt_encode_text(out, "not enough memory", 17);
        result = LNT_LUA_ERROR;
    } else {
        lua_pushcfunction(L, function);
        lua_pushlightuserdata(L, (void *)what);
        if (lua_pcall(L, 1, LUA_MULTRET, 0) != LUA_OK) {
            result = report(state, out);
        } else {
            char problem[512];
            int failed = lnt_encode_array_header(out, (size_t)(lua_gettop(L) - top));
            for (int i = top + 1; i <= lua_gettop(L) && !failed; i++) failed = lnt_encode(L, i, out, problem, sizeof problem);
            if (failed) {
                out->length = 0;
                lnt_encode_text(out, problem, strlen(problem));
                result = LNT_LUA_ERROR;
            }
        }
    }
    lua_settop(L, top);
    if (--state->depth == 0 && state->was_refused) {
        // Lua collects before it gives up, but not for the buffers of its string functions (lauxlib.c): what one handler leaves at the limit
        // would fail another's.
        state->was_refused = false;
        lua_gc(L, LUA_GCCOLLECT);
    }
    return result;
}

int32_t lnt_lua_boot(lnt_lua *state, const char *name, lnt_bytes *out) {
    entry what = {.name = name};
    int32_t result = enter(state, run_boot, &what, out);
    // What stays for weeks keeps the smaller table of strings: it grows by the most there ever were, and shrinks late.
    if (state->options.is_limited) lua_gc(state->main, LUA_GCCOLLECT);
    return result;
}

int32_t lnt_lua_enter(lnt_lua *state, const char *name, const void *in, size_t length, lnt_bytes *out) {
    entry what = {.name = name, .data = in, .length = length};
    return enter(state, run_entry, &what, out);
}

int32_t lnt_lua_deliver(lnt_lua *state, int64_t token, int32_t status, const void *data, size_t length, lnt_bytes *out) {
    lnt_packet packet = {status, data, length};
    entry what = {.name = "deliver", .packet = &packet, .token = token};
    return enter(state, run_entry, &what, out);
}

void lnt_lua_collect(lnt_lua *state) {
    if (state->depth != 0) return;
    lua_gc(state->main, LUA_GCCOLLECT);
    lnt_pool_share(&state->stock);
}

size_t lnt_lua_memory(const lnt_lua *state) { return state->memory; }
size_t lnt_lua_call_cost(const lnt_lua *state) { return state->call_cost; }
bool lnt_lua_is_broken(const lnt_lua *state) { return state->is_broken; }

void lnt_lua_set_limits(lnt_lua *state, uint64_t instructions, uint64_t wall_nanoseconds) {
    state->options.instruction_limit = instructions;
    state->options.wall_limit_nanoseconds = wall_nanoseconds;
}
