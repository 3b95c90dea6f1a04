// Runs one piece of work at a time on a thread of its own, for what would block an event loop: arithmetic
// over whole updates, and writing and syncing large files.
#ifndef CARREL_FEDERATION_JOB_H
#define CARREL_FEDERATION_JOB_H

#include "channel/loop.h"

#include <stdbool.h>

struct cr_job;

enum cr_status cr_job_new(struct cr_loop *loop, struct cr_job **out);
void cr_job_free(struct cr_job *job); // waits for the work that is running; NULL is allowed

// Starts work(context) on the job's thread. Only while the job is not busy.
void cr_job_start(struct cr_job *job, enum cr_status (*work)(void *context), void *context);

// True from cr_job_start until the result was taken or dropped.
bool cr_job_busy(struct cr_job *job);

// True once for each start, when the work is done: *result is what it returned, with its error message set.
// The loop is woken when there is a result.
bool cr_job_take(struct cr_job *job, enum cr_status *result);

// Waits for the work that is running, if any, and discards its result.
void cr_job_drop(struct cr_job *job);

#endif
