// Threads that take turns: several runs of a function over shared state, of which exactly one proceeds at any
// time.
//
// A lane runs until it yields with cr_lanes_pass_on, usually because it waits for something outside the
// process; then the next lane continues from where it yielded. Shared state needs no locks, and the order of
// access depends only on the lanes' own calls, never on timing. Waiting lanes sleep.
#ifndef CARREL_BASE_LANES_H
#define CARREL_BASE_LANES_H

#include "base/status.h"

#include <stddef.h>

struct cr_lanes;

// `count` lanes, at least 1. Lane 0 is the thread that calls cr_lanes_run; each of the others is a thread
// that lives until cr_lanes_free. CR_NO_MEMORY if a thread cannot be started.
enum cr_status cr_lanes_new(size_t count, struct cr_lanes **out);
void cr_lanes_free(struct cr_lanes *lanes); // not while they run; NULL is allowed

// In the functions below, NULL stands for a single lane: the caller's thread.

size_t cr_lanes_count(const struct cr_lanes *lanes);

// The lane whose turn it is; 0 while none runs. To be called by that lane, or by threads that work for it.
size_t cr_lanes_current(const struct cr_lanes *lanes);

// Calls work(context, lane) in every lane, and returns when all calls have returned. Lane 0 starts; another
// lane gets its turn when one yields or returns. Returns the first failure, with its message: lanes that have
// not begun then never do, and the others are stopped at their next cr_lanes_pass_on. Must not be called from
// within a lane.
enum cr_status cr_lanes_run(struct cr_lanes *lanes, enum cr_status (*work)(void *context, size_t lane),
                            void *context);

// Yields: lets every other unfinished lane run until its own next call of this function, in the order of the
// lanes, then returns. Returns at once if there is no other lane, or outside of cr_lanes_run. CR_CANCELLED
// once another lane has failed: the caller must stop and return this status.
enum cr_status cr_lanes_pass_on(struct cr_lanes *lanes);

#endif
