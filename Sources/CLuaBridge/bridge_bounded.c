// Functions of Lua's libraries whose loops in C the count hook can't interrupt, for limited states: each counts its work against the limits.
//
// What allocates as much as it does is counted by the allocator (bridge.c); patterns have a file of their own.

#include <limits.h>
#include <string.h>

#include "bridge_internal.h"

// Items between two looks at the limits.
#define ITEMS_AT_ONCE 256
// A function that reads a text once does that many bytes in the time of one instruction.
#define BYTES_A_STEP 16
#define ITEM(L, count) do { if (++(count) % ITEMS_AT_ONCE == 0) lnt_count_steps(L, ITEMS_AT_ONCE); } while (0)

// ---- functions that go once through what they are given ----

// As the upvalue's function, in its place: errors name the caller's word for it.
static int counted(lua_State *L) {
    uint64_t steps = (uint64_t)lua_gettop(L);
    for (int i = 1; i <= lua_gettop(L); i++) {
        if (lua_type(L, i) == LUA_TSTRING) steps += lua_rawlen(L, i) / BYTES_A_STEP;
    }
    if (steps >= ITEMS_AT_ONCE) lnt_count_steps(L, steps);
    return lua_tocfunction(L, lua_upvalueindex(1))(L);
}

static void count_functions(lua_State *L, const char *library, const char *const *names) {
    lua_getglobal(L, library);
    for (; *names; names++) {
        lua_getfield(L, -1, *names);
        lua_pushcclosure(L, counted, 1);
        lua_setfield(L, -2, *names);
    }
    lua_pop(L, 1);
}

// collectgarbage as far as limited code has it: "count" and "collect"
static int collect_garbage(lua_State *L) {
    const char *what = luaL_optstring(L, 1, "collect");
    if (strcmp(what, "count") == 0) {
        lua_pushnumber(L, (lua_Number)lnt_state(L)->memory / 1024);
        return 1;
    }
    if (strcmp(what, "collect") != 0) return luaL_error(L, "collectgarbage: only \"count\" and \"collect\" here");
    lnt_count_steps(L, lnt_state(L)->memory / BYTES_A_STEP);
    lua_gc(L, LUA_GCCOLLECT);
    lua_pushinteger(L, 0);
    return 1;
}

// ---- load ----

// Hands the parser a little at a time: it takes quadratic time for long chains of `and`, `elseif` and the like.
#define PIECE 512

typedef struct source {
    const char *text;
    size_t left;
} source;

static const char *read_piece(lua_State *L, void *context, size_t *size) {
    source *from = context;
    lnt_count_steps(L, PIECE);
    if (from->left == 0) {
        if (!lua_isfunction(L, 1)) return NULL;
        luaL_checkstack(L, 2, "too many nested functions");
        lua_pushvalue(L, 1);
        lua_call(L, 0, 1);
        if (!lua_isnil(L, -1) && lua_type(L, -1) != LUA_TSTRING) luaL_error(L, "reader function must return a string");
        // The slot keeps what is being read.
        lua_replace(L, 5);
        from->text = lua_isnil(L, 5) ? NULL : lua_tolstring(L, 5, &from->left);
        if (!from->text || from->left == 0) return NULL;
    }
    const char *piece = from->text;
    *size = from->left < PIECE ? from->left : PIECE;
    from->text += *size;
    from->left -= *size;
    return piece;
}

// load(chunk, name, mode, environment): text chunks only, whatever `mode` says
int lnt_load_text(lua_State *L) {
    bool has_environment = !lua_isnone(L, 4);
    source from = {0};
    if (lua_type(L, 1) == LUA_TSTRING) from.text = lua_tolstring(L, 1, &from.left);
    else luaL_checktype(L, 1, LUA_TFUNCTION);
    const char *name = lua_type(L, 2) == LUA_TSTRING ? lua_tostring(L, 2) : from.text ? from.text : "=(load)";
    // Sources of our own are out of the limits' reach (bridge.c).
    if (strncmp(name, "=[lunette", 9) == 0 || strcmp(name, "=?") == 0) name = "=(load)";
    lua_settop(L, 5);
    if (lua_load(L, read_piece, &from, name, "t") != LUA_OK) {
        luaL_pushfail(L);
        lua_insert(L, -2);
        return 2;
    }
    if (has_environment) {
        lua_pushvalue(L, 4);
        if (!lua_setupvalue(L, -2, 1)) lua_pop(L, 1);
    }
    return 1;
}

// ---- lists ----

enum { READS = 1, WRITES = 2, MEASURES = 4 };

// A table, or what behaves like one in the ways that are wanted.
static void check_list(lua_State *L, int argument, int ways) {
    if (lua_istable(L, argument)) return;
    static const struct { int way; const char *event; } needed[] = {{READS, "__index"}, {WRITES, "__newindex"}, {MEASURES, "__len"}};
    for (size_t i = 0; i < sizeof needed / sizeof *needed; i++) {
        if (!(ways & needed[i].way)) continue;
        if (luaL_getmetafield(L, argument, needed[i].event) == LUA_TNIL) luaL_checktype(L, argument, LUA_TTABLE);
        lua_pop(L, 1);
    }
}

static int table_concat(lua_State *L) {
    check_list(L, 1, READS | MEASURES);
    size_t between;
    const char *separator = luaL_optlstring(L, 2, "", &between);
    lua_Integer at = luaL_optinteger(L, 3, 1);
    lua_Integer last = lua_isnoneornil(L, 4) ? luaL_len(L, 1) : luaL_checkinteger(L, 4);
    luaL_Buffer text;
    luaL_buffinit(L, &text);
    for (uint64_t count = 0; at <= last; at++) {
        ITEM(L, count);
        lua_geti(L, 1, at);
        if (!lua_isstring(L, -1)) {
            return luaL_error(L, "invalid value (at index %I) in table for 'concat'", (LUAI_UACINT)at);
        }
        luaL_addvalue(&text);
        if (at == last) break;
        luaL_addlstring(&text, separator, between);
    }
    luaL_pushresult(&text);
    return 1;
}

static int table_insert(lua_State *L) {
    check_list(L, 1, READS | WRITES | MEASURES);
    lua_Integer end = (lua_Integer)((lua_Unsigned)luaL_len(L, 1) + 1);
    lua_Integer position = end;
    if (lua_gettop(L) == 3) {
        position = luaL_checkinteger(L, 2);
        luaL_argcheck(L, position >= 1 && position <= end, 2, "position out of bounds");
        uint64_t count = 0;
        for (lua_Integer at = end; at > position; at--) {
            ITEM(L, count);
            lua_geti(L, 1, at - 1);
            lua_seti(L, 1, at);
        }
    } else if (lua_gettop(L) != 2) {
        return luaL_error(L, "wrong number of arguments to 'insert'");
    }
    lua_seti(L, 1, position);
    return 0;
}

static int table_remove(lua_State *L) {
    check_list(L, 1, READS | WRITES | MEASURES);
    lua_Integer length = luaL_len(L, 1), at = length;
    if (!lua_isnoneornil(L, 2)) {
        at = luaL_checkinteger(L, 2);
        // One after the end is a place too.
        luaL_argcheck(L, at == length || (at >= 1 && at - 1 <= length), 2, "position out of bounds");
    }
    lua_geti(L, 1, at);
    for (uint64_t count = 0; at < length; at++) {
        ITEM(L, count);
        lua_geti(L, 1, at + 1);
        lua_seti(L, 1, at);
    }
    lua_pushnil(L);
    lua_seti(L, 1, at);
    return 1;
}

static int table_move(lua_State *L) {
    lua_Integer first = luaL_checkinteger(L, 2), last = luaL_checkinteger(L, 3), to = luaL_checkinteger(L, 4);
    int target = lua_isnoneornil(L, 5) ? 1 : 5;
    check_list(L, 1, READS);
    check_list(L, target, WRITES);
    if (last >= first) {
        luaL_argcheck(L, first > 0 || last < LUA_MAXINTEGER + first, 3, "too many elements to move");
        lua_Integer length = last - first + 1;
        luaL_argcheck(L, to <= LUA_MAXINTEGER - length + 1, 4, "destination wrap around");
        bool overlaps = to > first && to <= last && (target == 1 || lua_compare(L, 1, target, LUA_OPEQ));
        uint64_t count = 0;
        for (lua_Integer i = 0; i < length; i++) {
            lua_Integer offset = overlaps ? length - 1 - i : i;
            ITEM(L, count);
            lua_geti(L, 1, first + offset);
            lua_seti(L, target, to + offset);
        }
    }
    lua_pushvalue(L, target);
    return 1;
}

// The order of a sort that has none of its own: `<`, by length where texts are compared.
static int is_less(lua_State *L) {
    uint64_t steps = 8;
    if (lua_type(L, 1) == LUA_TSTRING && lua_type(L, 2) == LUA_TSTRING) {
        size_t left = lua_rawlen(L, 1), right = lua_rawlen(L, 2);
        steps += (left < right ? left : right) / BYTES_A_STEP;
    }
    lnt_count_steps(L, steps);
    lua_pushboolean(L, lua_compare(L, 1, 2, LUA_OPLT));
    return 1;
}

// Another C function as an order: no hook sees it.
static int counted_order(lua_State *L) {
    lnt_count_steps(L, 8);
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    lua_call(L, lua_gettop(L) - 1, 1);
    return 1;
}

// table.sort (the upvalue), each turn of whose loops asks the order.
static int table_sort(lua_State *L) {
    lua_settop(L, 2);
    if (lua_isnil(L, 2)) {
        lua_pushcfunction(L, is_less);
        lua_replace(L, 2);
    } else if (lua_iscfunction(L, 2)) {
        lua_pushcclosure(L, counted_order, 1);
    }
    return lua_tocfunction(L, lua_upvalueindex(1))(L);
}

// ---- coroutines ----

// coroutine.close. What a limit ended is closed without running its handlers: Lua would run them with hooks off.
static int coroutine_close(lua_State *L) {
    lua_State *co = lua_tothread(L, 1);
    luaL_argexpected(L, co, 1, "coroutine");
    if (lua_status(co) > LUA_YIELD && !lua_gethook(co)) {
        lua_pushboolean(L, 0);
        lua_pushliteral(L, "ended by its limits");
        return 2;
    }
    return lua_tocfunction(L, lua_upvalueindex(1))(L);
}

static void wrap(lua_State *L, const char *library, const char *name, lua_CFunction around) {
    lua_getglobal(L, library);
    lua_getfield(L, -1, name);
    lua_pushcclosure(L, around, 1);
    lua_setfield(L, -2, name);
    lua_pop(L, 1);
}

void lnt_register_bounded(lua_State *L) {
    static const char *const texts[] = {
        "byte", "char", "format", "lower", "pack", "packsize", "rep", "reverse", "sub", "unpack", "upper", NULL,
    };
    static const char *const utf8[] = {"char", "codepoint", "codes", "len", "offset", NULL};
    static const char *const lists[] = {"pack", "unpack", NULL};
    static const char *const globals[] = {"select", "tonumber", NULL};
    count_functions(L, LUA_STRLIBNAME, texts);
    count_functions(L, LUA_UTF8LIBNAME, utf8);
    count_functions(L, LUA_TABLIBNAME, lists);
    count_functions(L, LUA_GNAME, globals);
    static const luaL_Reg table[] = {
        {"concat", table_concat}, {"insert", table_insert}, {"remove", table_remove}, {"move", table_move}, {NULL, NULL},
    };
    lua_getglobal(L, LUA_TABLIBNAME);
    luaL_setfuncs(L, table, 0);
    lua_pop(L, 1);
    wrap(L, LUA_TABLIBNAME, "sort", table_sort);
    wrap(L, LUA_COLIBNAME, "close", coroutine_close);
    lua_register(L, "collectgarbage", collect_garbage);
}
