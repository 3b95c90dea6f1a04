#include "base/thread.h"

#include "base/cgroup.h"
#include "base/memory.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

struct worker {
    struct cr_pool *pool;
    size_t index;
    pthread_t thread;
    size_t processor; // to which it is bound, if `bound`
};

// Loops run one after another, and each has a number. Threads claim items, several at a time, by
// compare-and-swap on one word that holds the loop's number and the count of items left. A claim that
// succeeds proves that the loop is still the current one, so that what was read about it is valid; a worker
// that wakes late finds nothing to claim. The caller waits only for items in progress, never for a worker
// that has not begun.
struct cr_pool {
    size_t threads;
    struct worker *workers; // [threads - 1]: the caller is thread 0
    bool bound;             // each worker is bound to a processor of its own
    size_t processor;       // if so, the processor to which no worker is bound
    pthread_mutex_t mutex;
    pthread_cond_t begin;
    pthread_cond_t end;
    bool stopping;           // under mutex
    _Atomic uint64_t ticket; // number of the loop << 32 | items left
    _Atomic size_t done;     // items finished
    _Atomic size_t count;
    void (*_Atomic item)(void *, size_t, size_t);
    void *_Atomic context;
};

// A training step has thousands of short loops, so a worker spins for up to a few hundred microseconds before
// it sleeps. The limit matters if there are more threads than processors: spinning keeps the others from
// running.
enum { SPINS = 4000 };

static uint32_t loop_of(uint64_t ticket)
{
    return (uint32_t)(ticket >> 32);
}

static uint32_t left_of(uint64_t ticket)
{
    return (uint32_t)ticket;
}

// How many items a thread claims at once: fewer towards the end, so that all threads end at about the same
// time, but enough of small items to make the cost of claiming negligible.
static uint32_t claim_of(const struct cr_pool *pool, uint64_t ticket)
{
    enum { CLAIMS = 8 }; // claims that each thread would make for its share of the rest
    uint32_t share = left_of(ticket) / ((uint32_t)pool->threads * CLAIMS);
    return share > 0 ? share : 1;
}

static void run_items(struct cr_pool *pool, uint32_t loop, size_t thread)
{
    uint64_t ticket = atomic_load_explicit(&pool->ticket, memory_order_acquire);
    while (loop_of(ticket) == loop && left_of(ticket) > 0) {
        size_t count = atomic_load_explicit(&pool->count, memory_order_relaxed);
        void (*item)(void *, size_t, size_t) = atomic_load_explicit(&pool->item, memory_order_relaxed);
        void *context = atomic_load_explicit(&pool->context, memory_order_relaxed);
        uint32_t claim = claim_of(pool, ticket);
        if (!atomic_compare_exchange_weak_explicit(&pool->ticket, &ticket, ticket - claim,
                                                   memory_order_acq_rel, memory_order_acquire))
            continue;
        for (size_t i = 0; i < claim; i++) item(context, count - left_of(ticket) + i, thread);
        size_t done = atomic_fetch_add_explicit(&pool->done, claim, memory_order_acq_rel) + claim;
        if (done == count && thread != 0) {
            pthread_mutex_lock(&pool->mutex);
            pthread_cond_signal(&pool->end);
            pthread_mutex_unlock(&pool->mutex);
        }
        ticket = atomic_load_explicit(&pool->ticket, memory_order_acquire);
    }
}

static void *worker_main(void *argument)
{
    struct worker *worker = argument;
    struct cr_pool *pool = worker->pool;
    uint32_t seen = 0;
    for (;;) {
        uint32_t loop = seen;
        for (int i = 0; i < SPINS && loop == seen; i++) {
            __builtin_ia32_pause();
            loop = loop_of(atomic_load_explicit(&pool->ticket, memory_order_acquire));
        }
        if (loop == seen) {
            pthread_mutex_lock(&pool->mutex);
            while ((loop = loop_of(atomic_load(&pool->ticket))) == seen && !pool->stopping)
                pthread_cond_wait(&pool->begin, &pool->mutex);
            bool stop = pool->stopping;
            pthread_mutex_unlock(&pool->mutex);
            if (stop) return NULL;
        }
        seen = loop;
        run_items(pool, loop, worker->index);
    }
}

static size_t usable_processors(cpu_set_t *set)
{
    if (sched_getaffinity(0, sizeof *set, set) != 0) return 1;
    int count = CPU_COUNT(set);
    return count > 0 ? (size_t)count : 1;
}

// Of `usable` processors, as many as the control groups allow. They are read once, since carrel-enclave may
// not open their files later.
static size_t granted_processors(size_t usable)
{
    static _Atomic size_t known; // 0: not read yet
    size_t granted = atomic_load(&known);
    if (granted == 0) atomic_store(&known, granted = cr_cgroup_processors(""));
    return cr_least(usable, granted);
}

size_t cr_processors(void)
{
    cpu_set_t set;
    return granted_processors(usable_processors(&set));
}

static void bind_worker(struct worker *worker, size_t processor)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(processor, &set);
    worker->processor = processor;
    pthread_setaffinity_np(worker->thread, sizeof set, &set); // a hint: failure does no harm
}

// Moves the worker of the caller's processor to the processor that is free, so that a pool with as many
// threads as processors has one thread on each.
static void make_room(struct cr_pool *pool)
{
    int here = sched_getcpu();
    if (here < 0 || (size_t)here == pool->processor) return;
    for (size_t t = 1; t < pool->threads; t++)
        if (pool->workers[t - 1].processor == (size_t)here) {
            bind_worker(&pool->workers[t - 1], pool->processor);
            pool->processor = (size_t)here;
            return;
        }
}

// Otherwise Linux may leave two threads on one processor for milliseconds while another is idle, whenever
// threads of another process, such as an accelerator, run and sleep beside these. In a step with slicing, one
// of two processors was idle for a seventh of the time.
static void bind_workers(struct cr_pool *pool, const cpu_set_t *set)
{
    size_t processor = 0;
    for (size_t t = 0; t < pool->threads; t++, processor++) {
        while (!CPU_ISSET(processor, set)) processor++;
        if (t == 0)
            pool->processor = processor;
        else
            bind_worker(&pool->workers[t - 1], processor);
    }
    pool->bound = true;
}

enum cr_status cr_pool_new(size_t threads, struct cr_pool **out)
{
    if (threads > CR_MOST_THREADS)
        return cr_fail(CR_INVALID, "threads: %zu: at most %d", threads, CR_MOST_THREADS);
    cpu_set_t set;
    size_t processors = usable_processors(&set);
    if (threads == 0) threads = granted_processors(processors);
    struct cr_pool *pool;
    CR_TRY(cr_allocate(1, sizeof *pool, &pool));
    enum cr_status status = cr_allocate(threads, sizeof *pool->workers, &pool->workers);
    if (status != CR_OK) {
        free(pool);
        return status;
    }
    pthread_mutex_init(&pool->mutex, NULL);
    pthread_cond_init(&pool->begin, NULL);
    pthread_cond_init(&pool->end, NULL);
    pool->threads = 1;
    for (size_t t = 1; t < threads; t++) {
        struct worker *worker = &pool->workers[t - 1];
        *worker = (struct worker){.pool = pool, .index = t};
        int error = pthread_create(&worker->thread, NULL, worker_main, worker);
        if (error != 0) {
            cr_pool_free(pool);
            errno = error;
            return cr_fail_errno(CR_NO_MEMORY,
                                 "thread %zu of %zu could not be started (its stack, ulimit -u or a "
                                 "container's limit on processes)",
                                 t + 1, threads);
        }
        pool->threads++;
    }
    if (threads > 1 && threads == processors) bind_workers(pool, &set);
    *out = pool;
    return CR_OK;
}

void cr_pool_free(struct cr_pool *pool)
{
    if (!pool) return;
    pthread_mutex_lock(&pool->mutex);
    pool->stopping = true;
    pthread_cond_broadcast(&pool->begin);
    pthread_mutex_unlock(&pool->mutex);
    for (size_t t = 1; t < pool->threads; t++) pthread_join(pool->workers[t - 1].thread, NULL);
    pthread_cond_destroy(&pool->begin);
    pthread_cond_destroy(&pool->end);
    pthread_mutex_destroy(&pool->mutex);
    free(pool->workers);
    free(pool);
}

size_t cr_pool_threads(const struct cr_pool *pool)
{
    return pool ? pool->threads : 1;
}

void cr_pool_run(struct cr_pool *pool, size_t count, void (*item)(void *context, size_t i, size_t thread),
                 void *context)
{
    if (!pool || pool->threads == 1 || count < 2 || count > UINT32_MAX) {
        for (size_t i = 0; i < count; i++) item(context, i, 0);
        return;
    }
    if (pool->bound) make_room(pool);
    uint32_t loop = loop_of(atomic_load_explicit(&pool->ticket, memory_order_relaxed)) + 1;
    atomic_store_explicit(&pool->done, 0, memory_order_relaxed);
    atomic_store_explicit(&pool->count, count, memory_order_relaxed);
    atomic_store_explicit(&pool->item, item, memory_order_relaxed);
    atomic_store_explicit(&pool->context, context, memory_order_relaxed);
    pthread_mutex_lock(&pool->mutex);
    atomic_store_explicit(&pool->ticket, (uint64_t)loop << 32 | count, memory_order_release);
    pthread_cond_broadcast(&pool->begin);
    pthread_mutex_unlock(&pool->mutex);
    run_items(pool, loop, 0);
    for (int i = 0; i < SPINS && atomic_load_explicit(&pool->done, memory_order_acquire) < count; i++)
        __builtin_ia32_pause();
    if (atomic_load_explicit(&pool->done, memory_order_acquire) == count) return;
    pthread_mutex_lock(&pool->mutex);
    while (atomic_load(&pool->done) < count) pthread_cond_wait(&pool->end, &pool->mutex);
    pthread_mutex_unlock(&pool->mutex);
}
