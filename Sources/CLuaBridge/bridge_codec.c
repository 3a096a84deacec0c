// Lua values to MessagePack and back (https://github.com/msgpack/msgpack/blob/master/spec.md).

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bridge_internal.h"

int32_t lnt_bytes_append(lnt_bytes *bytes, const void *data, size_t length) {
    if (length > bytes->capacity - bytes->length) {
        size_t wanted = bytes->capacity ? bytes->capacity * 2 : 256;
        while (wanted < bytes->length + length) wanted *= 2;
        uint8_t *grown = realloc(bytes->data, wanted);
        if (!grown) return -ENOMEM;
        bytes->data = grown;
        bytes->capacity = wanted;
    }
    if (length) memcpy(bytes->data + bytes->length, data, length);
    bytes->length += length;
    return 0;
}

void lnt_bytes_free(lnt_bytes *bytes) {
    free(bytes->data);
    *bytes = (lnt_bytes){0};
}

// ---- writing ----

// Of limited states: so many tables are gone through before the time is looked at, which may then be this long.
#define TABLES_UNTIMED 16
#define MOST_SECONDS 1

typedef struct encoder {
    lua_State *L;
    lnt_bytes *out;
    size_t limit;
    size_t values, value_cost;
    // Tables gone through, and when the first few had been.
    size_t tables;
    time_t started;
    // The keys on the way down, for messages: text, or an index where text is NULL.
    struct { const char *text; lua_Integer index; } path[LNT_DEPTH];
    int depth;
    char *problem;
    size_t problem_size;
} encoder;

static int fail(encoder *e, const char *what) {
    size_t used = 0;
    for (int i = 0; i < e->depth && used < e->problem_size; i++) {
        // Of a long way down its beginning says enough.
        if (i == 6 && e->depth > 8) {
            int n = snprintf(e->problem + used, e->problem_size - used, ".…");
            used += n > 0 ? (size_t)n : 0;
            break;
        }
        int n = e->path[i].text
            ? snprintf(e->problem + used, e->problem_size - used, "%s%s", i ? "." : "", e->path[i].text)
            : snprintf(e->problem + used, e->problem_size - used, "[%lld]", (long long)e->path[i].index);
        used += n > 0 ? (size_t)n : 0;
    }
    if (used < e->problem_size) snprintf(e->problem + used, e->problem_size - used, "%s%s", e->depth ? ": " : "", what);
    return -EINVAL;
}

static int put(lnt_bytes *out, const void *data, size_t length) { return lnt_bytes_append(out, data, length); }

static int put_number(lnt_bytes *out, uint8_t code, uint64_t number, int size) {
    uint8_t bytes[9] = {code};
    for (int i = 0; i < size; i++) bytes[1 + i] = (uint8_t)(number >> (8 * (size - 1 - i)));
    return put(out, bytes, (size_t)size + 1);
}

static int put_header(lnt_bytes *out, size_t count, uint8_t fix, uint8_t code16, uint8_t code32) {
    if (count < 16) return put(out, &(uint8_t){(uint8_t)(fix | count)}, 1);
    if (count <= UINT16_MAX) return put_number(out, code16, count, 2);
    return count <= UINT32_MAX ? put_number(out, code32, count, 4) : -E2BIG;
}

int lnt_encode_array_header(lnt_bytes *out, size_t count) { return put_header(out, count, 0x90, 0xdc, 0xdd); }

int lnt_encode_text(lnt_bytes *out, const char *text, size_t length) {
    int failed = length < 32             ? put(out, &(uint8_t){(uint8_t)(0xa0 | length)}, 1)
                 : length <= UINT8_MAX   ? put_number(out, 0xd9, length, 1)
                 : length <= UINT16_MAX  ? put_number(out, 0xda, length, 2)
                 : length <= UINT32_MAX  ? put_number(out, 0xdb, length, 4)
                                         : -E2BIG;
    return failed ? failed : put(out, text, length);
}

int lnt_encode_integer(lnt_bytes *out, int64_t number) {
    if (number >= 0 && number < 128) return put(out, &(uint8_t){(uint8_t)number}, 1);
    return put_number(out, 0xd3, (uint64_t)number, 8);
}

static int put_double(lnt_bytes *out, double number) {
    uint64_t bits;
    memcpy(&bits, &number, sizeof bits);
    return put_number(out, 0xcb, bits, 8);
}

static int encode(encoder *e, int index);

// A table is a list when its keys are 1…n and nothing else. Counts its pairs; returns whether it is a list.
static bool is_list(lua_State *L, int index, size_t *count) {
    size_t length = lua_rawlen(L, index), pairs = 0;
    bool whole = true;
    lua_pushnil(L);
    while (lua_next(L, index)) {
        pairs++;
        if (!lua_isinteger(L, -2) || lua_tointeger(L, -2) < 1 || (size_t)lua_tointeger(L, -2) > length) whole = false;
        lua_pop(L, 1);
    }
    *count = pairs;
    if (pairs > 0) return whole && pairs == length;
    if (!lua_getmetatable(L, index)) return false;
    lua_rawgetp(L, LUA_REGISTRYINDEX, &lnt_array_key);
    bool marked = lua_rawequal(L, -1, -2);
    lua_pop(L, 2);
    return marked;
}

static int encode_key(encoder *e, int index) {
    lua_State *L = e->L;
    if (lua_type(L, index) == LUA_TSTRING) {
        size_t length;
        const char *text = lua_tolstring(L, index, &length);
        e->path[e->depth].text = text;
        return lnt_encode_text(e->out, text, length);
    }
    if (lua_isinteger(L, index)) {
        char digits[24];
        int length = snprintf(digits, sizeof digits, "%lld", (long long)lua_tointeger(L, index));
        e->path[e->depth].text = NULL;
        e->path[e->depth].index = lua_tointeger(L, index);
        return lnt_encode_text(e->out, digits, (size_t)length);
    }
    return fail(e, "a table's key must be text");
}

static time_t monotonic_seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec;
}

static int encode_table(encoder *e, int index) {
    lua_State *L = e->L;
    if (e->depth >= LNT_DEPTH - 1) return fail(e, "nested too deep (a table that holds itself?)");
    if (!lua_checkstack(L, 6)) return fail(e, "out of stack");
    // Going through a large table takes its time however little is in it, and one table may be in many places.
    if (e->value_cost && ++e->tables >= TABLES_UNTIMED) {
        if (e->tables == TABLES_UNTIMED) e->started = monotonic_seconds();
        else if (monotonic_seconds() - e->started > MOST_SECONDS) return fail(e, "takes too long to send");
    }
    size_t count;
    int failed;
    if (lua_getmetatable(L, index)) {
        if (lua_rawgetp(L, -1, &lnt_view_key) == LUA_TTABLE) {
            e->depth++;
            failed = encode_table(e, lua_gettop(L));
            e->depth--;
            lua_pop(L, 2);
            return failed;
        }
        lua_pop(L, 2);
    }
    if (is_list(L, index, &count)) {
        if ((failed = lnt_encode_array_header(e->out, count))) return failed;
        for (size_t i = 1; i <= count; i++) {
            e->path[e->depth].text = NULL;
            e->path[e->depth].index = (lua_Integer)i;
            lua_rawgeti(L, index, (lua_Integer)i);
            e->depth++;
            failed = encode(e, lua_gettop(L));
            e->depth--;
            lua_pop(L, 1);
            if (failed) return failed;
        }
        return 0;
    }
    if ((failed = put_header(e->out, count, 0x80, 0xde, 0xdf))) return failed;
    lua_pushnil(L);
    while (lua_next(L, index)) {
        int value = lua_gettop(L);
        failed = encode_key(e, value - 1);
        if (!failed) {
            e->depth++;
            failed = encode(e, value);
            e->depth--;
        }
        if (failed) {
            lua_pop(L, 2);
            return failed;
        }
        lua_pop(L, 1);
    }
    return 0;
}

static int encode(encoder *e, int index) {
    lua_State *L = e->L;
    e->values++;
    if (e->limit && e->out->length + e->values * e->value_cost > e->limit) return fail(e, "too large to send");
    switch (lua_type(L, index)) {
    case LUA_TNIL: return put(e->out, "\xc0", 1);
    case LUA_TBOOLEAN: return put(e->out, lua_toboolean(L, index) ? "\xc3" : "\xc2", 1);
    case LUA_TNUMBER:
        return lua_isinteger(L, index) ? lnt_encode_integer(e->out, lua_tointeger(L, index)) : put_double(e->out, lua_tonumber(L, index));
    case LUA_TSTRING: {
        size_t length;
        const char *text = lua_tolstring(L, index, &length);
        if (e->limit && length > e->limit) return fail(e, "too large to send");
        return lnt_encode_text(e->out, text, length);
    }
    case LUA_TTABLE: return encode_table(e, index);
    case LUA_TLIGHTUSERDATA:
        // NULL is lunette.null, and lua-cjson's null as well.
        if (!lua_touserdata(L, index)) return put(e->out, "\xc0", 1);
        return fail(e, "a userdata can't be sent");
    case LUA_TFUNCTION: return fail(e, "a function can't be sent or stored");
    case LUA_TTHREAD: return fail(e, "a coroutine can't be sent");
    default: return fail(e, "a userdata can't be sent");
    }
}

int lnt_encode(lua_State *L, int index, lnt_bytes *out, char *problem, size_t problem_size) {
    encoder e = {.L = L, .out = out, .problem = problem, .problem_size = problem_size};
    lnt_lua *state = lnt_state(L);
    e.limit = state->options.is_limited ? LNT_CALL_LIMIT : state->options.memory_limit;
    e.value_cost = state->options.is_limited ? LNT_VALUE_COST : 0;
    size_t before = out->length;
    int top = lua_gettop(L);
    problem[0] = 0;
    int failed = encode(&e, lua_absindex(L, index));
    lua_settop(L, top);
    state->call_cost += out->length - before + e.values * LNT_VALUE_COST;
    if (failed && !problem[0]) snprintf(problem, problem_size, "%s", failed == -ENOMEM ? "not enough memory" : "too large to send");
    return failed;
}

// ---- reading ----

typedef struct reader {
    lua_State *L;
    const uint8_t *at, *end;
    bool keeps_null;
} reader;

static void need(reader *r, size_t count) {
    if ((size_t)(r->end - r->at) < count) luaL_error(r->L, "decode MessagePack: cut short");
}

static uint64_t number(reader *r, int size) {
    need(r, (size_t)size);
    uint64_t result = 0;
    for (int i = 0; i < size; i++) result = (result << 8) | *r->at++;
    return result;
}

static void push(reader *r, int depth);

static void push_text(reader *r, size_t length) {
    need(r, length);
    lua_pushlstring(r->L, (const char *)r->at, length);
    r->at += length;
}

static void push_list(reader *r, size_t count, int depth) {
    need(r, count);
    lua_createtable(r->L, (int)count, 0);
    if (count == 0 && r->keeps_null) {
        lua_rawgetp(r->L, LUA_REGISTRYINDEX, &lnt_array_key);
        lua_setmetatable(r->L, -2);
    }
    for (size_t i = 1; i <= count; i++) {
        push(r, depth + 1);
        // A hole in a list would change its length: null stands for it whatever the caller wants.
        if (lua_isnil(r->L, -1)) {
            lua_pop(r->L, 1);
            lua_pushlightuserdata(r->L, NULL);
        }
        lua_rawseti(r->L, -2, (lua_Integer)i);
    }
}

static void push_map(reader *r, size_t count, int depth) {
    need(r, count);
    lua_createtable(r->L, 0, (int)count);
    for (size_t i = 0; i < count; i++) {
        push(r, depth + 1);
        if (lua_isnil(r->L, -1)) luaL_error(r->L, "decode MessagePack: a key is nil");
        push(r, depth + 1);
        lua_rawset(r->L, -3);
    }
}

static void push(reader *r, int depth) {
    lua_State *L = r->L;
    if (depth > LNT_DEPTH * 2) luaL_error(L, "decode MessagePack: nested too deep");
    luaL_checkstack(L, 4, "decode MessagePack");
    need(r, 1);
    uint8_t code = *r->at++;
    if (code <= 0x7f) return lua_pushinteger(L, code);
    if (code >= 0xe0) return lua_pushinteger(L, (int8_t)code);
    if (code <= 0x8f) return push_map(r, code & 0x0f, depth);
    if (code <= 0x9f) return push_list(r, code & 0x0f, depth);
    if (code <= 0xbf) return push_text(r, code & 0x1f);
    switch (code) {
    case 0xc0: r->keeps_null ? lua_pushlightuserdata(L, NULL) : lua_pushnil(L); return;
    case 0xc2: lua_pushboolean(L, 0); return;
    case 0xc3: lua_pushboolean(L, 1); return;
    case 0xc4: case 0xd9: push_text(r, number(r, 1)); return;
    case 0xc5: case 0xda: push_text(r, number(r, 2)); return;
    case 0xc6: case 0xdb: push_text(r, number(r, 4)); return;
    case 0xca: {
        uint32_t bits = (uint32_t)number(r, 4);
        float value;
        memcpy(&value, &bits, sizeof value);
        lua_pushnumber(L, value);
        return;
    }
    case 0xcb: {
        uint64_t bits = number(r, 8);
        double value;
        memcpy(&value, &bits, sizeof value);
        lua_pushnumber(L, value);
        return;
    }
    case 0xcc: lua_pushinteger(L, (lua_Integer)number(r, 1)); return;
    case 0xcd: lua_pushinteger(L, (lua_Integer)number(r, 2)); return;
    case 0xce: lua_pushinteger(L, (lua_Integer)number(r, 4)); return;
    case 0xcf: lua_pushinteger(L, (lua_Integer)number(r, 8)); return;
    case 0xd0: lua_pushinteger(L, (int8_t)number(r, 1)); return;
    case 0xd1: lua_pushinteger(L, (int16_t)number(r, 2)); return;
    case 0xd2: lua_pushinteger(L, (int32_t)number(r, 4)); return;
    case 0xd3: lua_pushinteger(L, (lua_Integer)number(r, 8)); return;
    case 0xdc: push_list(r, number(r, 2), depth); return;
    case 0xdd: push_list(r, number(r, 4), depth); return;
    case 0xde: push_map(r, number(r, 2), depth); return;
    case 0xdf: push_map(r, number(r, 4), depth); return;
    default: luaL_error(L, "decode MessagePack: type byte %d is not one we use", code);
    }
}

void lnt_decode(lua_State *L, const uint8_t *data, size_t length, bool keeps_null) {
    reader r = {.L = L, .at = data, .end = data + length, .keeps_null = keeps_null};
    push(&r, 0);
    if (r.at != r.end) luaL_error(L, "decode MessagePack: bytes left over");
}

int lnt_decode_items(lua_State *L, const uint8_t *data, size_t length, bool keeps_null) {
    reader r = {.L = L, .at = data, .end = data + length, .keeps_null = keeps_null};
    need(&r, 1);
    uint8_t code = *r.at++;
    size_t count;
    if ((code & 0xf0) == 0x90) count = code & 0x0f;
    else if (code == 0xdc) count = number(&r, 2);
    else return luaL_error(L, "decode MessagePack: expected a list");
    luaL_checkstack(L, (int)count + 4, "decode MessagePack");
    for (size_t i = 0; i < count; i++) push(&r, 1);
    if (r.at != r.end) return luaL_error(L, "decode MessagePack: bytes left over");
    return (int)count;
}
