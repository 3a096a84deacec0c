// States: opening, entering, limits, and the one function through which Lua reaches the host.

#include <errno.h>
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

static void *allocate(void *context, void *block, size_t old_size, size_t new_size) {
    lnt_lua *state = context;
    // For a new block `old_size` is a type tag, not a size.
    size_t held = block ? old_size : 0;
    if (new_size == 0) {
        state->memory -= held;
        free(block);
        return NULL;
    }
    size_t limit = state->options.memory_limit;
    // Shrinking must not fail (Lua's manual), and closing has to get by.
    if (limit && new_size > held && !state->is_closing && state->memory - held + new_size > limit) return NULL;
    void *moved = realloc(block, new_size);
    if (moved) state->memory = state->memory - held + new_size;
    return moved;
}

// ---- limits ----

static void raise_stored(lua_State *L, const char *key, const char *otherwise) {
    lua_rawgetp(L, LUA_REGISTRYINDEX, key);
    if (lua_isnil(L, -1)) lua_pushstring(L, otherwise);
    lua_error(L);
}

// Whether the stdlib's own code runs: its tables must stay whole, so nothing is raised there. The user's next instruction will do.
static bool is_in_stdlib(lua_State *L, lua_Debug *activation) {
    return lua_getinfo(L, "S", activation) && strncmp(activation->source, "=[lunette", 9) == 0;
}

// `activation`: where the count hook stopped; NULL inside a C function.
static void check_limits(lua_State *L, lnt_lua *state, lua_Debug *activation) {
    uint64_t instructions = state->options.instruction_limit, wall = state->options.wall_limit_nanoseconds;
    if (!state->is_exceeded) {
        state->is_exceeded = (instructions && state->used > instructions)
            || (wall && clock_nanoseconds(CLOCK_MONOTONIC) - state->started > wall);
    }
    if (!state->is_exceeded) return;
    // A pcall that swallows the error gets it again at its next instruction, until the entry has unwound.
    lua_sethook(L, lnt_hook, LUA_MASKCOUNT, 1);
    if (activation && is_in_stdlib(L, activation)) return;
    raise_stored(L, &lnt_limit_error_key, "the code ran longer than it may");
}

void lnt_hook(lua_State *L, lua_Debug *activation) {
    lnt_lua *state = lnt_state(L);
    if (atomic_load(&state->is_interrupted)) {
        if (is_in_stdlib(L, activation)) return;
        atomic_store(&state->is_interrupted, false);
        lua_sethook(L, state->options.is_limited ? lnt_hook : NULL, state->options.is_limited ? LUA_MASKCOUNT : 0, LNT_HOOK_STEP);
        raise_stored(L, &lnt_interrupt_error_key, "interrupted");
    }
    if (!state->options.is_limited) {
        lua_sethook(L, NULL, 0, 0);
        return;
    }
    bool was_stepping = lua_gethookcount(L) != LNT_HOOK_STEP;
    state->used += was_stepping ? 1 : LNT_HOOK_STEP;
    check_limits(L, state, activation);
    if (was_stepping && !state->is_exceeded) lua_sethook(L, lnt_hook, LUA_MASKCOUNT, LNT_HOOK_STEP);
}

void lnt_count_steps(lua_State *L, uint64_t steps) {
    lnt_lua *state = lnt_state(L);
    state->used += steps;
    check_limits(L, state, NULL);
}

void lnt_lua_interrupt(lnt_lua *state) {
    pthread_mutex_lock(&state->lock);
    atomic_store(&state->is_interrupted, true);
    // As lua.c does from its signal handler: setting a hook is the one thing allowed from outside.
    if (state->current) lua_sethook(state->current, lnt_hook, LUA_MASKCOUNT, 1);
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
static int host_clock(lua_State *L) {
    lua_pushnumber(L, (double)clock_nanoseconds(CLOCK_MONOTONIC) / 1e9);
    return 1;
}

static int host_now(lua_State *L) {
    lua_pushnumber(L, (double)clock_nanoseconds(CLOCK_REALTIME) / 1e9);
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

static int host_memory(lua_State *L) {
    lua_pushinteger(L, (lua_Integer)lnt_state(L)->memory);
    return 1;
}

// host.string_metatable() → the metatable that all strings share
static int host_string_metatable(lua_State *L) {
    lua_pushliteral(L, "");
    if (!lua_getmetatable(L, -1)) return 0;
    return 1;
}

// host.module(name) → the source of a stdlib module
static int host_module(lua_State *L) {
    size_t length;
    const void *source = lnt_lua_module(luaL_checkstring(L, 1), &length);
    if (!source) return luaL_error(L, "no stdlib module %s", lua_tostring(L, 1));
    lua_pushlstring(L, source, length);
    return 1;
}

// host.mark(metatable, table): encode what has this metatable as if it were `table` (a read-only view of it)
static int host_mark(lua_State *L) {
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 2);
    lua_rawsetp(L, 1, &lnt_view_key);
    return 0;
}

static const luaL_Reg host_functions[] = {
    {"call", host_call}, {"pump", host_pump}, {"unpack", host_unpack}, {"decode", host_decode}, {"clock", host_clock},
    {"now", host_now}, {"traceback", host_traceback}, {"where", host_where}, {"set_error", host_set_error},
    {"memory", host_memory}, {"string_metatable", host_string_metatable}, {"resume", lnt_coroutine_resume}, {"resume_task", lnt_task_resume},
    {"module", host_module}, {"is_closing", lnt_is_closing}, {"mark", host_mark}, {"place", host_place},
    {NULL, NULL},
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
    }
    lua_newtable(L);
    lua_pushliteral(L, "lunette.list");
    lua_setfield(L, -2, "__name");
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
    if (options->is_limited) lua_sethook(state->main, lnt_hook, LUA_MASKCOUNT, LNT_HOOK_STEP);
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

static int run_boot(lua_State *L) {
    const entry *what = lua_touserdata(L, 1);
    lua_settop(L, 0);
    if (luaL_loadbufferx(L, what->data, what->length, what->name, "t") != LUA_OK) return lua_error(L);
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
    state->depth--;
    return result;
}

int32_t lnt_lua_boot(lnt_lua *state, const char *name, const void *source, size_t length, lnt_bytes *out) {
    entry what = {.name = name, .data = source, .length = length};
    return enter(state, run_boot, &what, out);
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

size_t lnt_lua_memory(const lnt_lua *state) { return state->memory; }

void lnt_lua_set_limits(lnt_lua *state, uint64_t instructions, uint64_t wall_nanoseconds) {
    state->options.instruction_limit = instructions;
    state->options.wall_limit_nanoseconds = wall_nanoseconds;
}
