#include "federation/job.h"

#include "base/memory.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

struct cr_job {
    struct cr_loop *loop;
    pthread_t thread;
    pthread_mutex_t lock; // protects all members below
    pthread_cond_t changed;
    enum cr_status (*work)(void *context); // NULL: there is no work
    void *context;
    bool done, stopping;
    enum cr_status result; // once done
    char why[1024];
};

static void *work(void *context)
{
    struct cr_job *job = context;
    pthread_mutex_lock(&job->lock);
    while (!job->stopping) {
        if (!job->work || job->done) {
            pthread_cond_wait(&job->changed, &job->lock);
            continue;
        }
        pthread_mutex_unlock(&job->lock);
        enum cr_status result = job->work(job->context); // neither member changes while the work is running
        pthread_mutex_lock(&job->lock);
        job->result = result;
        if (result != CR_OK) snprintf(job->why, sizeof job->why, "%s", cr_error_message());
        job->done = true;
        pthread_cond_broadcast(&job->changed);
        cr_loop_wake(job->loop);
    }
    pthread_mutex_unlock(&job->lock);
    return NULL;
}

enum cr_status cr_job_new(struct cr_loop *loop, struct cr_job **out)
{
    struct cr_job *job;
    CR_TRY(cr_allocate(1, sizeof *job, &job));
    job->loop = loop;
    pthread_mutex_init(&job->lock, NULL);
    pthread_cond_init(&job->changed, NULL);
    if (pthread_create(&job->thread, NULL, work, job) != 0) {
        free(job);
        return cr_fail(CR_NO_MEMORY, "no thread can be started");
    }
    *out = job;
    return CR_OK;
}

void cr_job_free(struct cr_job *job)
{
    if (!job) return;
    pthread_mutex_lock(&job->lock);
    job->stopping = true;
    pthread_cond_broadcast(&job->changed);
    pthread_mutex_unlock(&job->lock);
    pthread_join(job->thread, NULL);
    pthread_cond_destroy(&job->changed);
    pthread_mutex_destroy(&job->lock);
    free(job);
}

void cr_job_start(struct cr_job *job, enum cr_status (*task)(void *context), void *context)
{
    pthread_mutex_lock(&job->lock);
    job->work = task;
    job->context = context;
    job->done = false;
    pthread_cond_broadcast(&job->changed);
    pthread_mutex_unlock(&job->lock);
}

bool cr_job_busy(struct cr_job *job)
{
    pthread_mutex_lock(&job->lock);
    bool busy = job->work != NULL;
    pthread_mutex_unlock(&job->lock);
    return busy;
}

bool cr_job_take(struct cr_job *job, enum cr_status *result)
{
    pthread_mutex_lock(&job->lock);
    bool done = job->work && job->done;
    if (done) {
        *result = job->result == CR_OK ? CR_OK : cr_fail(job->result, "%s", job->why);
        job->work = NULL;
    }
    pthread_mutex_unlock(&job->lock);
    return done;
}

void cr_job_drop(struct cr_job *job)
{
    pthread_mutex_lock(&job->lock);
    while (job->work && !job->done) pthread_cond_wait(&job->changed, &job->lock);
    job->work = NULL;
    pthread_mutex_unlock(&job->lock);
}
