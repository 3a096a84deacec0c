#include "cseccomp.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

// `outcome` is told each step before it is taken, so that who reads it later knows where it ended.
static void add_all(scmp_filter_ctx context, const struct lnt_seccomp_rules *rules, int file, volatile struct lnt_seccomp_outcome *outcome) {
    outcome->step = LNT_SECCOMP_BAD_ARCHITECTURE;
    if ((outcome->error = -seccomp_attr_set(context, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS))) return;
    // A tree over the numbers (2) instead of a chain: at the load the kernel tries the filter on every number, which took 0.6 ms.
    outcome->step = LNT_SECCOMP_TREE;
    if ((outcome->error = -seccomp_attr_set(context, SCMP_FLTATR_CTL_OPTIMIZE, 2))) return;
    outcome->step = LNT_SECCOMP_ARCHITECTURE;
    for (size_t i = 0; i < rules->architecture_count; i++) {
        outcome->index = (uint32_t)i;
        if ((outcome->error = -seccomp_arch_add(context, rules->architectures[i]))) return;
    }
    outcome->step = LNT_SECCOMP_RULE;
    for (size_t i = 0; i < rules->rule_count; i++) {
        const struct lnt_seccomp_rule *rule = &rules->rules[i];
        outcome->index = (uint32_t)i;
        int error = -seccomp_rule_add_array(context, rule->action, rule->number, rule->count, rule->comparisons);
        // The same rule twice is what a profile's author wrote, and harmless.
        if (error != 0 && error != EEXIST) {
            outcome->error = error;
            return;
        }
    }
    outcome->step = LNT_SECCOMP_EXPORT;
    if ((outcome->error = -seccomp_export_bpf(context, file))) return;
    outcome->step = LNT_SECCOMP_DONE;
}

static void compile_here(const struct lnt_seccomp_rules *rules, int file, volatile struct lnt_seccomp_outcome *outcome) {
    outcome->step = LNT_SECCOMP_INIT;
    scmp_filter_ctx context = seccomp_init(rules->default_action);
    if (context == NULL) {
        outcome->error = EINVAL;
        return;
    }
    add_all(context, rules, file, outcome);
    seccomp_release(context);
}

// Ends this process after so much processor time; dispositions and masks are inherited.
static void limit_process(uint64_t microseconds) {
    sigset_t ours;
    sigemptyset(&ours);
    signal(SIGPROF, SIG_DFL);
    sigaddset(&ours, SIGPROF);
    sigprocmask(SIG_UNBLOCK, &ours, NULL);
    struct itimerval processor = {.it_value = {.tv_sec = (time_t)(microseconds / 1000000), .tv_usec = (suseconds_t)(microseconds % 1000000)}};
    if (setitimer(ITIMER_PROF, &processor, NULL)) _exit(1);
}

// Closes all but `file`: what the caller holds open (sockets, locks) isn't the compiler's.
static void keep_only(int file) {
    if ((file > 0 && syscall(SYS_close_range, 0U, (unsigned)file - 1, 0)) || syscall(SYS_close_range, (unsigned)file + 1, ~0U, 0)) _exit(1);
}

// Waits for the child's end, or ends it after `seconds` of clock: a stopped process uses no processor time, and one on a busy machine little.
// Returns 0, or an errno.
static int wait_for(pid_t child, int seconds) {
    int error = 0;
    struct pollfd ended = {.fd = (int)syscall(SYS_pidfd_open, child, 0), .events = POLLIN};
    // ESRCH is a process that ignores SIGCHLD, for which the kernel has waited.
    if (ended.fd < 0) return errno == ESRCH ? 0 : errno;
    int result;
    do result = poll(&ended, 1, seconds * 1000);
    while (result < 0 && errno == EINTR);
    if (result <= 0) {
        error = result < 0 ? errno : ETIMEDOUT;
        kill(child, SIGKILL);
    }
    close(ended.fd);
    while (waitpid(child, NULL, 0) < 0 && errno == EINTR) {}
    return error;
}

struct lnt_seccomp_outcome lnt_seccomp_compile(const struct lnt_seccomp_rules *rules, int file, uint64_t limit, int patience) {
    struct lnt_seccomp_outcome here = {0};
    if (limit == 0) {
        compile_here(rules, file, &here);
        return here;
    }
    here.step = LNT_SECCOMP_PROCESS;
    volatile struct lnt_seccomp_outcome *shared = mmap(NULL, sizeof here, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED) {
        here.error = errno;
        return here;
    }
    shared->step = LNT_SECCOMP_PROCESS;
    pid_t parent = getpid();
    // glibc's fork, not a raw clone: the allocator's locks are free in the child, whatever this process' other threads do.
    pid_t child = fork();
    if (child == 0) {
        if (prctl(PR_SET_PDEATHSIG, SIGKILL) || getppid() != parent) _exit(1);
        keep_only(file);
        limit_process(limit);
        compile_here(rules, file, shared);
        _exit(0);
    }
    if (child < 0) {
        here.error = errno;
    } else {
        int error = wait_for(child, patience);
        // What it has to say is in the shared page.
        here.step = error ? LNT_SECCOMP_PROCESS : shared->step;
        here.index = shared->index;
        here.error = error ? error : shared->error;
    }
    munmap((void *)shared, sizeof here);
    return here;
}
