// The hook that the Swift runtime has for other global executors (swift/Runtime/Concurrency.h, swift_task_enqueueGlobal_hook).

#include "swift_jobs.h"

#include <stdint.h>

#define SWIFT_CC __attribute__((swiftcall))

typedef struct serial_executor {
    void *identity;
    uintptr_t implementation;
} serial_executor;

typedef SWIFT_CC void (*enqueue)(void *job);
typedef SWIFT_CC void (*enqueue_hook)(void *job, enqueue original);

extern enqueue_hook swift_task_enqueueGlobal_hook;
extern SWIFT_CC void swift_job_run(void *job, serial_executor executor);

static lnt_job_sink job_sink;

static SWIFT_CC void hook(void *job, enqueue original) {
    (void)original;
    job_sink(job);
}

void lnt_swift_jobs_redirect(lnt_job_sink sink) {
    job_sink = sink;
    swift_task_enqueueGlobal_hook = hook;
}

void lnt_swift_job_run(void *job) { swift_job_run(job, (serial_executor){0, 0}); }
