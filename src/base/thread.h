// A pool of threads for loops over independent items.
//
// The caller chooses the number of items independently of the number of threads. So a result that depends on
// the split, such as a sum in a certain order, is the same on every machine.
#ifndef CARREL_BASE_THREAD_H
#define CARREL_BASE_THREAD_H

#include "base/status.h"

#include <stddef.h>

struct cr_pool;

enum { CR_MOST_THREADS = 1024 };

// The number of processors that this process may use, or whose time it may use if control groups allow less
// (base/cgroup.h); at least one.
size_t cr_processors(void);

// `threads` includes the caller's own; 0 means cr_processors(). More than CR_MOST_THREADS is CR_INVALID. If
// there is one thread for each processor that this process may use, each thread but the caller's is bound to
// a processor; the caller's never is.
enum cr_status cr_pool_new(size_t threads, struct cr_pool **out);
void cr_pool_free(struct cr_pool *pool); // NULL is allowed

size_t cr_pool_threads(const struct cr_pool *pool); // 1 for NULL

// Calls item(context, i, thread) for i in [0, count), and returns when all calls have returned. Which thread
// runs which item is not determined; each thread runs its items in ascending order, and thread 0 is the
// caller. Items cannot fail, and must not start a loop on the same pool. With a NULL pool the caller runs
// everything.
void cr_pool_run(struct cr_pool *pool, size_t count, void (*item)(void *context, size_t i, size_t thread),
                 void *context);

#endif
