// SIGINT, SIGTERM and SIGHUP, and SIGPIPE where it is asked for, as bytes in a pipe: the handler does the one thing that is safe there.

#include <errno.h>
#include <signal.h>
#include <unistd.h>

#include "lua_bridge.h"

// A signal handler has no argument to find its pipe by.
static volatile sig_atomic_t descriptor = -1;

static void note(int number) {
    int saved = errno;
    unsigned char byte = (unsigned char)number;
    if (descriptor >= 0 && write(descriptor, &byte, 1) < 0) {}
    errno = saved;
}

int32_t lnt_lua_signals_watch(int32_t write_end, bool takes_pipe) {
    static const int numbers[] = {SIGINT, SIGTERM, SIGHUP, SIGPIPE};
    descriptor = write_end;
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        if (numbers[i] == SIGPIPE && !takes_pipe) continue;
        struct sigaction old, action = {.sa_handler = write_end >= 0 ? note : SIG_DFL, .sa_flags = SA_RESTART};
        sigemptyset(&action.sa_mask);
        // What a parent ignores for us (nohup) stays ignored.
        if (sigaction(numbers[i], NULL, &old) != 0) return -errno;
        if (old.sa_handler == SIG_IGN) continue;
        if (sigaction(numbers[i], &action, NULL) != 0) return -errno;
    }
    return 0;
}
