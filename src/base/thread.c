#include "base/thread.h"

#include "base/memory.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>

struct worker {
    struct cr_pool *pool;
    size_t index;
    pthread_t thread;
};

struct cr_pool {
    size_t threads;
    struct worker *workers; // [threads - 1]: the caller is thread 0
    pthread_mutex_t mutex;
    pthread_cond_t begin;
    pthread_cond_t end;
    _Atomic unsigned long generation; // one per loop
    _Atomic size_t unfinished;        // workers still in the current loop
    bool stopping;                    // under mutex
    _Atomic size_t next;              // item of the current loop
    size_t count;
    void (*item)(void *, size_t, size_t);
    void *context;
};

// A training step is thousands of short loops: a worker looks for the next one for some microseconds before
// it sleeps. With more threads than processors that would keep the others from running, hence the small
// bound.
enum { SPINS = 4000 };

// Whoever is free takes the next item: on a busy machine one thread may get far less of its processor than
// another.
static void run_share(struct cr_pool *pool, size_t thread)
{
    size_t i;
    while ((i = atomic_fetch_add_explicit(&pool->next, 1, memory_order_relaxed)) < pool->count)
        pool->item(pool->context, i, thread);
}

static void *worker_main(void *argument)
{
    struct worker *worker = argument;
    struct cr_pool *pool = worker->pool;
    unsigned long seen = 0;
    for (;;) {
        for (int i = 0; i < SPINS && atomic_load_explicit(&pool->generation, memory_order_acquire) == seen;
             i++)
            __builtin_ia32_pause();
        if (atomic_load_explicit(&pool->generation, memory_order_acquire) == seen) {
            pthread_mutex_lock(&pool->mutex);
            while (atomic_load(&pool->generation) == seen && !pool->stopping)
                pthread_cond_wait(&pool->begin, &pool->mutex);
            bool stop = pool->stopping;
            pthread_mutex_unlock(&pool->mutex);
            if (stop) return NULL;
        }
        seen++;
        run_share(pool, worker->index);
        if (atomic_fetch_sub_explicit(&pool->unfinished, 1, memory_order_acq_rel) == 1) {
            pthread_mutex_lock(&pool->mutex);
            pthread_cond_signal(&pool->end);
            pthread_mutex_unlock(&pool->mutex);
        }
    }
}

static size_t usable_processors(void)
{
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) != 0) return 1;
    int count = CPU_COUNT(&set);
    return count > 0 ? (size_t)count : 1;
}

enum cr_status cr_pool_new(size_t threads, struct cr_pool **out)
{
    if (threads > CR_MOST_THREADS)
        return cr_fail(CR_INVALID, "threads: %zu: at most %d", threads, CR_MOST_THREADS);
    if (threads == 0) threads = usable_processors();
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
            return cr_fail(CR_NO_MEMORY, "thread %zu of %zu could not be started (error %d)", t + 1, threads,
                           error);
        }
        pool->threads++;
    }
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
    if (!pool || pool->threads == 1 || count < 2) {
        for (size_t i = 0; i < count; i++) item(context, i, 0);
        return;
    }
    atomic_store_explicit(&pool->next, 0, memory_order_relaxed);
    pool->count = count;
    pool->item = item;
    pool->context = context;
    atomic_store(&pool->unfinished, pool->threads - 1);
    pthread_mutex_lock(&pool->mutex);
    atomic_fetch_add_explicit(&pool->generation, 1, memory_order_release);
    pthread_cond_broadcast(&pool->begin);
    pthread_mutex_unlock(&pool->mutex);
    run_share(pool, 0);
    for (int i = 0; i < SPINS && atomic_load_explicit(&pool->unfinished, memory_order_acquire) > 0; i++)
        __builtin_ia32_pause();
    if (atomic_load_explicit(&pool->unfinished, memory_order_acquire) == 0) return;
    pthread_mutex_lock(&pool->mutex);
    while (atomic_load(&pool->unfinished) > 0) pthread_cond_wait(&pool->end, &pool->mutex);
    pthread_mutex_unlock(&pool->mutex);
}
