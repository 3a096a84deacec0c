// libseccomp, and a compilation of rules that comes to an end.
#ifndef CSECCOMP_H
#define CSECCOMP_H

#include <seccomp.h>
#include <stddef.h>
#include <stdint.h>

// One rule: what happens to call `number` where all `count` comparisons hold.
struct lnt_seccomp_rule {
    uint32_t action;
    int32_t number;
    uint32_t count;
    struct scmp_arg_cmp comparisons[6];
};

struct lnt_seccomp_rules {
    uint32_t default_action;
    // SCMP_ARCH_*, without the native one.
    const uint32_t *architectures;
    size_t architecture_count;
    const struct lnt_seccomp_rule *rules;
    size_t rule_count;
};

enum lnt_seccomp_step {
    LNT_SECCOMP_DONE = 0,
    LNT_SECCOMP_PROCESS,
    LNT_SECCOMP_INIT,
    LNT_SECCOMP_BAD_ARCHITECTURE,
    LNT_SECCOMP_TREE,
    LNT_SECCOMP_ARCHITECTURE,
    LNT_SECCOMP_RULE,
    LNT_SECCOMP_EXPORT,
};

// How far a compilation came: with `error` 0 and a step other than DONE it was ended there, out of time.
struct lnt_seccomp_outcome {
    uint32_t step;
    // Of the architecture or rule.
    uint32_t index;
    // An errno.
    int32_t error;
};

// Compiles rules and writes the program to `file` (a memfd).
//
// With a limit of more than 0 microseconds of processor time it works in a process of its own, which the limit ends: for rules of one
// call that compare arguments libseccomp (2.5) searches trees, and there are rules with which it never comes back. After `patience` seconds of clock
// it is ended in any case (a stopped process uses no time of the processor): ETIMEDOUT at LNT_SECCOMP_PROCESS.
struct lnt_seccomp_outcome lnt_seccomp_compile(const struct lnt_seccomp_rules *rules, int file, uint64_t limit, int patience);

#endif
