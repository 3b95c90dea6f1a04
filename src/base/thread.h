// A pool of threads for loops over independent items.
//
// Work is split into `count` items by the caller, never by the number of threads, so that a result that
// depends on the split (a sum in some order) does not depend on the machine.
#ifndef CARREL_BASE_THREAD_H
#define CARREL_BASE_THREAD_H

#include "base/status.h"

#include <stddef.h>

struct cr_pool;

enum { CR_MOST_THREADS = 1024 };

// How many processors this process may use, or has the time of where that is less (base/cgroup.h); at least
// one.
size_t cr_processors(void);

// `threads` in all, the caller's own included; 0 means cr_processors(). More than CR_MOST_THREADS are
// CR_INVALID. With one per processor that this process may use, all but the caller's are bound to one
// processor each; the caller's is never bound.
enum cr_status cr_pool_new(size_t threads, struct cr_pool **out);
void cr_pool_free(struct cr_pool *pool); // NULL is allowed

size_t cr_pool_threads(const struct cr_pool *pool); // NULL: 1

// Calls item(context, i, thread) for i in [0, count) and returns when all are done. Which thread gets which
// item is not determined; a thread gets its items in ascending order, and thread 0 is the caller. Items must
// not fail, and must not start a loop on the same pool. A NULL pool runs everything in the caller.
void cr_pool_run(struct cr_pool *pool, size_t count, void (*item)(void *context, size_t i, size_t thread),
                 void *context);

#endif
