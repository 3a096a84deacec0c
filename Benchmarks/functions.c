// Prints which of a static program's functions one run of it enters, each once, in the order of their first call: what the linker is told to lay side by side.
// usage: functions PROGRAM [ARGUMENT…] < ADDRESSES > ENTERED     both in hexadecimal, one a line; x86-64
//
// Every function begins with a breakpoint, which is taken away where it is met. Threads and children are followed until they execute something else.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

struct mark {
    unsigned long address;
    unsigned char byte, is_set;
};

static int by_address(const void *a, const void *b) {
    const struct mark *x = a, *y = b;
    return x->address < y->address ? -1 : x->address > y->address;
}

static void fail(const char *what) {
    perror(what);
    exit(1);
}

int main(int argc, char **argv) {
    if (argc < 2) return 2;
    struct mark *marks = NULL;
    size_t count = 0;
    for (unsigned long address; scanf("%lx", &address) == 1;) {
        if (!(count & 4095)) marks = realloc(marks, (count + 4096) * sizeof *marks);
        marks[count++] = (struct mark){.address = address};
    }
    qsort(marks, count, sizeof *marks, by_address);

    pid_t program = fork();
    if (!program) {
        // The addresses were stdin; the program gets none of them.
        if (dup2(open("/dev/null", O_RDONLY), 0) < 0 || ptrace(PTRACE_TRACEME, 0, 0, 0) < 0) _exit(126);
        dup2(2, 1);
        execv(argv[1], argv + 1);
        _exit(127);
    }
    int status;
    if (waitpid(program, &status, 0) < 0 || !WIFSTOPPED(status)) fail("start");
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/mem", program);
    int memory = open(path, O_RDWR | O_CLOEXEC);
    if (memory < 0) fail(path);
    for (size_t i = 0; i < count; i++) {
        if (pread(memory, &marks[i].byte, 1, (off_t)marks[i].address) != 1) continue;
        if (pwrite(memory, "\xcc", 1, (off_t)marks[i].address) == 1) marks[i].is_set = 1;
    }
    ptrace(PTRACE_SETOPTIONS, program, 0, PTRACE_O_TRACECLONE | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | PTRACE_O_TRACEEXEC | PTRACE_O_EXITKILL);
    ptrace(PTRACE_CONT, program, 0, 0);
    int result = 0;
    for (;;) {
        pid_t pid = waitpid(-1, &status, __WALL);
        if (pid < 0) break;
        if (!WIFSTOPPED(status)) {
            if (pid == program) result = WIFEXITED(status) ? WEXITSTATUS(status) : 128;
            continue;
        }
        int signal = WSTOPSIG(status), event = status >> 16;
        if (event == PTRACE_EVENT_EXEC) {
            ptrace(PTRACE_DETACH, pid, 0, 0);
            continue;
        }
        if (signal == SIGTRAP && !event) {
            unsigned long at = (unsigned long)ptrace(PTRACE_PEEKUSER, pid, offsetof(struct user_regs_struct, rip), 0) - 1;
            struct mark key = {.address = at}, *mark = bsearch(&key, marks, count, sizeof *marks, by_address);
            if (mark && (mark->is_set || mark->byte)) {
                if (mark->is_set) printf("%lx\n", at);
                mark->is_set = 0;
                // The memory may be a forked child's own.
                snprintf(path, sizeof path, "/proc/%d/mem", pid);
                int its = open(path, O_RDWR | O_CLOEXEC);
                pwrite(its, &mark->byte, 1, (off_t)at);
                close(its);
                ptrace(PTRACE_POKEUSER, pid, offsetof(struct user_regs_struct, rip), at);
            }
            signal = 0;
        }
        // A new child's first stop, and what tells of it.
        if (event || signal == SIGSTOP) signal = 0;
        ptrace(PTRACE_CONT, pid, 0, signal);
    }
    return result;
}
