// Opens, uses and closes many Lua states through the bridge alone, so that a sanitizer or Valgrind sees what is left of them.
// usage: states COUNT
//
// Of each kind: code that ends, fails, waits, runs away, is out of memory (also while the state opens), is closed in the middle of a wait.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lua_bridge.h"

struct host {
	int64_t tokens;
	int64_t waiting; // the token of the last wait
};

static void append(lnt_bytes *out, const void *data, size_t length)
{
	if (lnt_bytes_append(out, data, length) != 0)
		abort();
}

static void append_text(lnt_bytes *out, const char *text)
{
	size_t length = strlen(text);
	uint8_t head[5] = {0xdb, length >> 24, length >> 16, length >> 8, length};
	append(out, head, sizeof head);
	append(out, text, length);
}

static void append_error(lnt_bytes *out, const char *message)
{
	append(out, "\x82", 1);
	append_text(out, "code");
	append_text(out, "invalid_argument");
	append_text(out, "message");
	append_text(out, message);
}

// Whether the first item of the array `in` is `name`.
static int asks_for(const uint8_t *in, size_t length, const char *name)
{
	size_t size = strlen(name);
	return length > 2 + size && in[1] == (0xa0 | size) && memcmp(in + 2, name, size) == 0;
}

static int32_t answer(void *context, const uint8_t *in, size_t length, lnt_bytes *out)
{
	struct host *host = context;
	if (asks_for(in, length, "sleep")) {
		uint8_t token[10] = {0x91, 0xd3};
		host->waiting = ++host->tokens;
		for (int i = 0; i < 8; i++)
			token[2 + i] = (uint64_t)host->waiting >> (56 - 8 * i);
		append(out, token, sizeof token);
		return LNT_LUA_AWAIT;
	}
	if (asks_for(in, length, "bytes")) {
		append_error(out, "no size");
		return LNT_LUA_ERROR;
	}
	append(out, "\x90", 1);
	return LNT_LUA_OK;
}

static const char *programs[] = {
	"return 1, 'text', { 1, 2, { a = true } }",
	"error { code = 'x' }",
	"error('text', 0)",
	"lunette.bytes 'x'",
	"for _ = 1, 100 do pcall(lunette.bytes, {}) end",
	"task.sleep(1) return 2",
	"local t = task.spawn(function() task.sleep(1) error 'late' end) task.await(t)",
	"local x <close> = setmetatable({}, { __close = function() task.sleep(1) end }) task.sleep(1) error 'x'",
	"coroutine.wrap(function() task.sleep(1) coroutine.yield() end)()",
	"while true do pcall(function() while true do end end) end",
	"local s = 'x' while true do s = s .. s end",
	"local t = {} while true do t[#t + 1] = coroutine.create(function() end) end",
	"local function f() return 1 + f() end f()",
	"return ('a'):rep(3000):find(('.-'):rep(20) .. 'b')",
	"local t = {} for i = 1, 1000 do t[i] = setmetatable({}, { __close = error, __index = t }) end return t",
	"load(string.char(27))() ",
	"return lunette.container, lunette.store, lunette.task, lunette.nothing",
};

static void use(unsigned number, size_t memory_limit, int closes_early)
{
	struct host host = {0};
	lnt_lua_options options = {.context = &host, .call = answer, .memory_limit = memory_limit, .instruction_limit = 200000,
		.wall_limit_nanoseconds = 5000000000u, .is_limited = number % 4 != 0};
	lnt_lua *state = NULL;
	if (lnt_lua_open(&options, &state) != 0)
		return;
	lnt_bytes out = {0};
	if (lnt_lua_boot(state, "core", &out) == LNT_LUA_OK) {
		lnt_bytes in = {0};
		// Only limited states stop what runs away.
		const char *program = programs[options.is_limited ? number % (sizeof programs / sizeof *programs) : number % 9];
		append(&in, "\x82", 1);
		append_text(&in, "source");
		append_text(&in, program);
		append_text(&in, "name");
		append_text(&in, "=program");
		out.length = 0;
		lnt_lua_enter(state, "run", in.data, in.length, &out);
		lnt_bytes_free(&in);
		for (int i = 0; i < 4 && host.waiting && !closes_early; i++) {
			int64_t token = host.waiting;
			host.waiting = 0;
			out.length = 0;
			lnt_lua_deliver(state, token, LNT_LUA_OK, "\x90", 1, &out);
		}
		// Bytes that are no value, and a token that nobody waits for.
		out.length = 0;
		lnt_lua_deliver(state, 4711, LNT_LUA_OK, "\xc1\xff", 2, &out);
		out.length = 0;
		lnt_lua_enter(state, "run", "\xdf\xff\xff\xff\xff", 5, &out);
		out.length = 0;
		lnt_lua_enter(state, "no such entry", "\xc0", 1, &out);
	}
	lnt_bytes_free(&out);
	lnt_lua_close(state);
}

int main(int argc, char **argv)
{
	unsigned count = argc > 1 ? (unsigned)atoi(argv[1]) : 1000;
	for (unsigned number = 0; number < count; number++) {
		// Each tenth runs out of memory at another point of its opening.
		size_t limit = number % 10 == 9 ? 4096 + (size_t)number * 577 % 400000 : 4 << 20;
		use(number, limit, number % 3 == 2);
	}
	printf("%u states\n", count);
	return 0;
}
