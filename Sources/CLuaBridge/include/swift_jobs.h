// Takes the Swift runtime's jobs from its global executor, for `lunette test`: run one by one by a single thread they can be counted, and when
// none is left nothing happens any more by itself.
#pragma once

typedef void (*lnt_job_sink)(void *job);

// Hands every job to `sink` from now on, in the whole process. Called once, before the first task; there is no way back.
void lnt_swift_jobs_redirect(lnt_job_sink sink);

// Runs a job on the calling thread, as the global executor would.
void lnt_swift_job_run(void *job);
