// coroutine.resume that lets a wait pass: a coroutine of the user's own that waits in a Lunette call makes the task around it wait.

#include "bridge_internal.h"

// What a resume counts for.
#define STEPS_A_RESUME 100

// Says which coroutine runs, so that an interrupt from another thread reaches it.
static void set_current(lnt_lua *state, lua_State *L) {
    pthread_mutex_lock(&state->lock);
    state->current = L;
    pthread_mutex_unlock(&state->lock);
    if (atomic_load(&state->is_interrupted)) lua_sethook(L, lnt_hook, LUA_MASKCOUNT, 1);
}

static int continue_resume(lua_State *L, int status, lua_KContext context);

// Resumes the coroutine at stack index 1 with the `count` values on top of L's stack. `is_task`: the scheduler resumes a task, and
// its wait is a result; else a wait passes on up.
static int drive(lua_State *L, lua_State *co, int count, bool is_task) {
    lnt_lua *state = lnt_state(L);
    for (;;) {
        if (state->options.is_limited) {
            // Each coroutine has a count of its own: without this, many short ones would never reach a look at the limits.
            int step = lnt_hook_step(state);
            if (lua_gethookcount(co) > step) lua_sethook(co, lnt_hook, LUA_MASKCOUNT, step);
            // The scheduler stays whole; what it runs is ended at its first instruction.
            if (!is_task) lnt_count_steps(L, STEPS_A_RESUME);
            else if (state->is_exceeded) lua_sethook(co, lnt_hook, LUA_MASKCOUNT, 1);
        }
        if (!lua_checkstack(co, count)) {
            lua_pop(L, count);
            lua_pushboolean(L, 0);
            lua_pushliteral(L, "too many arguments to resume");
            return 2;
        }
        lua_xmove(L, co, count);
        int results = 0;
        lua_State *previous = state->current;
        set_current(state, co);
        int status = lua_resume(co, L, count, &results);
        set_current(state, previous);
        if (status != LUA_OK && status != LUA_YIELD) {
            // Raised inside its hook, the error leaves the coroutine's hooks off for good: coroutine.close asks for this.
            if (state->options.is_limited && state->is_exceeded) lua_sethook(co, NULL, 0, 0);
            lua_pushboolean(L, 0);
            lua_xmove(co, L, 1);
            return 2;
        }
        if (!lua_checkstack(L, results + 4)) {
            lua_pop(co, results);
            lua_pushboolean(L, 0);
            lua_pushliteral(L, "too many results to resume");
            return 2;
        }
        bool waits = status == LUA_YIELD && results > 0 && lua_touserdata(co, -results) == (void *)&lnt_wait_sentinel;
        if (!waits || is_task) {
            lua_pushboolean(L, 1);
            lua_xmove(co, L, results);
            return results + 1;
        }
        int base = lua_gettop(L);
        lua_xmove(co, L, results);
        if (lua_isyieldable(L)) return lua_yieldk(L, results, 0, continue_resume);
        // The coroutine may yield but what resumed it may not (a sort's comparator): wait here.
        lua_rawgetp(L, LUA_REGISTRYINDEX, &lnt_entries_key);
        lua_getfield(L, -1, "block");
        lua_remove(L, -2);
        lua_pushvalue(L, base + 2);
        lua_call(L, 1, LUA_MULTRET);
        lua_rotate(L, base + 1, -results);
        lua_pop(L, results);
        count = lua_gettop(L) - base;
    }
}

static int continue_resume(lua_State *L, int status, lua_KContext context) {
    (void)status, (void)context;
    lua_State *co = lua_tothread(L, 1);
    return drive(L, co, lua_gettop(L) - 1, false);
}

static int resume(lua_State *L, bool is_task) {
    lua_State *co = lua_tothread(L, 1);
    luaL_argexpected(L, co, 1, "coroutine");
    int count = lua_gettop(L) - 1;
    // As auxresume of Lua 5.4 does: what can't be resumed is a result, not an error.
    const char *problem = NULL;
    switch (lua_status(co)) {
    case LUA_YIELD: break;
    case LUA_OK: {
        lua_Debug activation;
        if (co == L || lua_getstack(co, 0, &activation)) problem = "cannot resume non-suspended coroutine";
        else if (lua_gettop(co) == 0) problem = "cannot resume dead coroutine";
        break;
    }
    default: problem = "cannot resume dead coroutine";
    }
    if (problem) {
        lua_pushboolean(L, 0);
        lua_pushstring(L, problem);
        return 2;
    }
    return drive(L, co, count, is_task);
}

int lnt_coroutine_resume(lua_State *L) { return resume(L, false); }
int lnt_task_resume(lua_State *L) { return resume(L, true); }

// Whether the function at the top of `co` is the __close of a value in a slot of its caller, `activation`. Leaves the stack as it was.
static bool closes_a_slot_of(lua_State *co, const lua_Debug *activation) {
    int function = lua_gettop(co);
    for (int slot = 1; lua_getlocal(co, activation, slot); slot++) {
        bool closes = luaL_getmetafield(co, -1, "__close") != LUA_TNIL && lua_rawequal(co, -1, function);
        lua_settop(co, function);
        if (closes) return true;
    }
    return false;
}

// host.is_closing(co) → whether a `<close>` handler runs on its stack. Lua names such a call only when a block ends: unwinding by an
// error, it looks like one of pcall's own, so that the caller's slots have to be looked at. Not by `debug`: limited states have none.
int lnt_is_closing(lua_State *L) {
    lua_State *co = lua_tothread(L, 1);
    lua_Debug called, caller;
    bool is_closing = false;
    if (co && lua_checkstack(co, 6)) {
        for (int level = 0; !is_closing && lua_getstack(co, level, &called) && lua_getstack(co, level + 1, &caller); level++) {
            lua_getinfo(co, "f", &called);
            is_closing = closes_a_slot_of(co, &caller);
            lua_pop(co, 1);
        }
    }
    lua_pushboolean(L, is_closing);
    return 1;
}
