// One piece of work at a time on a thread of its own, for what would keep an event loop from its connections:
// arithmetic over whole updates, and writing and syncing large files.
#ifndef CARREL_FEDERATION_JOB_H
#define CARREL_FEDERATION_JOB_H

#include "channel/loop.h"

#include <stdbool.h>

struct cr_job;

enum cr_status cr_job_new(struct cr_loop *loop, struct cr_job **out);
void cr_job_free(struct cr_job *job); // waits for the work at hand; NULL is allowed

// Begins to call work(context) on the job's thread; not while another is at hand.
void cr_job_start(struct cr_job *job, enum cr_status (*work)(void *context), void *context);

// From a start until its result was taken or dropped.
bool cr_job_busy(struct cr_job *job);

// True once after each start, when the work is done: *result is what it returned, with its sentence. The loop
// is woken when there is something to take.
bool cr_job_take(struct cr_job *job, enum cr_status *result);

// Waits for the work at hand, if any, and forgets its result.
void cr_job_drop(struct cr_job *job);

#endif
