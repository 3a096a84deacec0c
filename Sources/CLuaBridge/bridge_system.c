// libc that Swift can't name: GNU extensions, and the stdout that Lua writes to.

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "bridge_internal.h"

int32_t lnt_lua_pipe(int32_t ends[2]) { return pipe2(ends, O_CLOEXEC) == 0 ? 0 : -errno; }

int32_t lnt_lua_open_path_flag(void) { return O_PATH; }

void lnt_lua_print(const void *text, size_t length) {
    if (length) fwrite(text, 1, length, stdout);
    fflush(stdout);
}

void lnt_lua_release_stack(void) {
    pthread_attr_t attributes;
    if (pthread_getattr_np(pthread_self(), &attributes) != 0) return;
    void *lowest;
    size_t size;
    if (pthread_attr_getstack(&attributes, &lowest, &size) == 0) {
        uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), here = (uintptr_t)__builtin_frame_address(0);
        // What this function and the call below use is left alone.
        uintptr_t end = (here & ~(page - 1)) - page, begin = ((uintptr_t)lowest + page - 1) & ~(page - 1);
        if (end > begin) madvise((void *)begin, end - begin, MADV_DONTNEED);
    }
    pthread_attr_destroy(&attributes);
}

void lnt_lua_release_heap(void) {
    static _Atomic int64_t last = -5;
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    int64_t before = atomic_load(&last);
    // The arenas are locked one by one meanwhile: not for each of a thousand states that come to rest together.
    if (now.tv_sec - before >= 5 && atomic_compare_exchange_strong(&last, &before, (int64_t)now.tv_sec)) {
        lnt_pool_tidy();
        malloc_trim(0);
    }
}
