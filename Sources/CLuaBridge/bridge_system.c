// libc that Swift can't name: GNU extensions, and the stdout that Lua writes to.

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "lua_bridge.h"

int32_t lnt_lua_pipe(int32_t ends[2]) { return pipe2(ends, O_CLOEXEC) == 0 ? 0 : -errno; }

int32_t lnt_lua_open_path_flag(void) { return O_PATH; }

void lnt_lua_print(const void *text, size_t length) {
    if (length) fwrite(text, 1, length, stdout);
    fflush(stdout);
}
