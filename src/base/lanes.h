// Threads that take turns: several walks over shared state of which exactly one is ever on its way.
//
// A lane runs until it passes on, where it waits for something from outside anyway, and the next one goes on
// from where it passed on itself. What the lanes share needs no locks, and the order in which they come to it
// follows from their own calls alone, never from time. Nothing here spins.
#ifndef CARREL_BASE_LANES_H
#define CARREL_BASE_LANES_H

#include "base/status.h"

#include <stddef.h>

struct cr_lanes;

// `count` in all, at least 1. Lane 0 is whoever calls cr_lanes_run, each other one a thread that lives as
// long as this. A thread that cannot be started is CR_NO_MEMORY.
enum cr_status cr_lanes_new(size_t count, struct cr_lanes **out);
void cr_lanes_free(struct cr_lanes *lanes); // not while they run; NULL is allowed

// In the functions below NULL is one lane, that of the caller.

size_t cr_lanes_count(const struct cr_lanes *lanes);

// The lane on its way; 0 while none runs. For it, and for threads that work for it.
size_t cr_lanes_current(const struct cr_lanes *lanes);

// Calls work(context, lane) in every lane, lane 0 first and another one where it passes on or returns, and
// returns when all have. The first failure is the answer, with its sentence: lanes that have not begun are
// left out then, and what the others do ends with their next cr_lanes_pass_on. Not to be called by a lane.
enum cr_status cr_lanes_run(struct cr_lanes *lanes, enum cr_status (*work)(void *context, size_t lane),
                            void *context);

// Lets each other lane that has not returned go as far as its next call of this, in the order of lanes, and
// comes back. At once where there is no other, and outside of cr_lanes_run. CR_CANCELLED once another lane
// has failed: what called it is to return that.
enum cr_status cr_lanes_pass_on(struct cr_lanes *lanes);

#endif
