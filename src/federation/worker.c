#include "federation/worker.h"

#include "base/clock.h"
#include "federation/discretion.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct cr_worker {
    const struct cr_learner_kind *kind;
    const struct cr_event_sink *real_sink;
    struct cr_event_sink sink;
    pthread_mutex_t sink_lock;
    struct cr_loop *loop;
    pthread_t thread;
    void *learner; // used by the thread only

    pthread_mutex_t lock; // protects all members below
    pthread_cond_t changed;
    enum cr_work task; // NONE again once there is a result
    bool cancelled, has_result;
    const struct cr_config *config; // set by the first task, like the next one
    const struct cr_sealing *sealing;
    const char *state;
    struct cr_training_task training;
    const struct cr_vector *final; // for saving, with `directory`
    const char *directory;
    struct cr_worker_progress progress;
    double began;
    struct cr_tally tally; // used by the thread while it trains
    struct cr_worker_result result;
};

static void receive(void *context, const struct cr_event *event)
{
    struct cr_worker *worker = context;
    if (!worker->real_sink || !worker->real_sink->receive) return;
    struct cr_event told = *event;
    CR_FREE struct cr_event_field *fields = NULL;
    if (cr_allocate(event->field_count, sizeof *fields, &fields) != CR_OK) return;
    if (worker->config) cr_discretion_event(worker->config, event, fields, &told);
    pthread_mutex_lock(&worker->sink_lock);
    worker->real_sink->receive(worker->real_sink->context, &told);
    pthread_mutex_unlock(&worker->sink_lock);
}

static bool keep_going(void *context)
{
    struct cr_worker *worker = context;
    double elapsed = cr_clock_monotonic() - worker->began;
    bool telling = worker->tally.labelled > 0 && !cr_tuning_config_sliced(&worker->config->tuning);
    pthread_mutex_lock(&worker->lock);
    worker->progress = (struct cr_worker_progress){
        .step = worker->tally.steps,
        .steps = worker->training.last - worker->training.first,
        .loss = telling ? worker->tally.loss_sum / (double)worker->tally.labelled : 0,
        .tokens_per_second = elapsed > 0 ? (double)worker->tally.tokens / elapsed : 0,
    };
    bool going = !worker->cancelled && worker->task != CR_WORK_STOP;
    pthread_mutex_unlock(&worker->lock);
    return going;
}

// Copies the learner's values, so that they can be sent while the learner continues.
static enum cr_status copy_values(struct cr_worker *worker, struct cr_worker_result *result)
{
    size_t count;
    const float *values = worker->kind->values(worker->learner, &count);
    struct cr_vector *update;
    CR_TRY(cr_vector_new(count, &update));
    update->again = true;
    memcpy(update->values, values, count * sizeof *values);
    enum cr_status status = cr_vector_digest(update, result->digest);
    if (status != CR_OK)
        cr_vector_release(update);
    else
        result->update = update;
    return status;
}

// Opening failed. Reads the model's digests all the same, so that the owner can tell whether it is the job's
// model.
static enum cr_status not_opened(const struct cr_worker *worker, enum cr_status status,
                                 struct cr_worker_result *result)
{
    const struct cr_tuning_config *tuning = &worker->config->tuning;
    char why[sizeof result->why];
    snprintf(why, sizeof why, "%s", cr_error_message());
    result->has_base =
        cr_base_digest_read(tuning->model_name_or_path, tuning->random_init, &result->base) == CR_OK;
    return cr_fail(status, "%s", why);
}

static enum cr_status do_open(struct cr_worker *worker, struct cr_worker_result *result)
{
    enum cr_status status = worker->kind->open(worker->config, &worker->sink, &worker->learner);
    if (status != CR_OK) return not_opened(worker, status, result);
    CR_TRY(worker->kind->digest(worker->learner, result->structure));
    CR_TRY(worker->kind->base(worker->learner, &result->base));
    result->has_base = true;
    if (worker->state) status = worker->kind->load_state(worker->learner, worker->sealing, worker->state);
    result->of_state = status == CR_INVALID;
    CR_TRY(status);
    result->total_steps = worker->kind->total_steps(worker->learner);
    result->step = worker->kind->step(worker->learner);
    return copy_values(worker, result);
}

static enum cr_status go_back(struct cr_worker *worker, struct cr_worker_result *result)
{
    const char *state = worker->training.back;
    enum cr_status status = CR_OK;
    if (state)
        status = worker->kind->load_state(worker->learner, worker->sealing, state);
    else
        worker->kind->reset_optimizer(worker->learner);
    result->of_state = status == CR_INVALID;
    return status;
}

static enum cr_status do_train(struct cr_worker *worker, struct cr_worker_result *result)
{
    const struct cr_training_task *task = &worker->training;
    size_t count;
    if (task->again) CR_TRY(go_back(worker, result));
    float *values = worker->kind->values(worker->learner, &count);
    memcpy(values, task->start->values, count * sizeof *values);
    CR_TRY(worker->kind->seek(worker->learner, task->first));
    if (task->reset_optimizer) worker->kind->reset_optimizer(worker->learner);
    enum cr_status status =
        worker->kind->run(worker->learner, task->last - task->first, &worker->tally, keep_going, worker);
    if (status != CR_OK && (status != CR_CANCELLED || !task->keeps)) return status;
    CR_TRY(worker->kind->save_state(worker->learner, worker->sealing, task->state));
    if (status != CR_OK) return status;
    result->tally = worker->tally;
    return copy_values(worker, result);
}

static enum cr_status do_save(struct cr_worker *worker)
{
    size_t count;
    float *values = worker->kind->values(worker->learner, &count);
    memcpy(values, worker->final->values, count * sizeof *values);
    return worker->kind->save(worker->learner, worker->directory);
}

static enum cr_status do_task(struct cr_worker *worker, struct cr_worker_result *result)
{
    if (result->work == CR_WORK_OPEN) return do_open(worker, result);
    return result->work == CR_WORK_TRAIN ? do_train(worker, result) : do_save(worker);
}

static void *work(void *context)
{
    struct cr_worker *worker = context;
    pthread_mutex_lock(&worker->lock);
    for (;;) {
        while (worker->task == CR_WORK_NONE) pthread_cond_wait(&worker->changed, &worker->lock);
        struct cr_worker_result result = {.work = worker->task};
        if (result.work == CR_WORK_STOP) break;
        pthread_mutex_unlock(&worker->lock);
        result.status = do_task(worker, &result);
        if (result.status != CR_OK) snprintf(result.why, sizeof result.why, "%s", cr_error_message());
        pthread_mutex_lock(&worker->lock);
        worker->result = result;
        worker->has_result = true;
        if (worker->task != CR_WORK_STOP) worker->task = CR_WORK_NONE;
        cr_loop_wake(worker->loop);
    }
    pthread_mutex_unlock(&worker->lock);
    return NULL;
}

enum cr_status cr_worker_new(const struct cr_learner_kind *kind, const struct cr_event_sink *sink,
                             struct cr_loop *loop, struct cr_worker **out)
{
    struct cr_worker *worker;
    CR_TRY(cr_allocate(1, sizeof *worker, &worker));
    worker->kind = kind;
    worker->real_sink = sink;
    worker->sink = (struct cr_event_sink){receive, worker};
    worker->loop = loop;
    pthread_mutex_init(&worker->sink_lock, NULL);
    pthread_mutex_init(&worker->lock, NULL);
    pthread_cond_init(&worker->changed, NULL);
    if (pthread_create(&worker->thread, NULL, work, worker) != 0) {
        free(worker);
        return cr_fail(CR_NO_MEMORY, "no thread can be started");
    }
    *out = worker;
    return CR_OK;
}

void cr_worker_free(struct cr_worker *worker)
{
    if (!worker) return;
    pthread_mutex_lock(&worker->lock);
    worker->task = CR_WORK_STOP;
    pthread_cond_signal(&worker->changed);
    pthread_mutex_unlock(&worker->lock);
    pthread_join(worker->thread, NULL);
    if (worker->has_result) cr_vector_release(worker->result.update);
    worker->kind->free(worker->learner);
    pthread_cond_destroy(&worker->changed);
    pthread_mutex_destroy(&worker->lock);
    pthread_mutex_destroy(&worker->sink_lock);
    free(worker);
}

const struct cr_event_sink *cr_worker_sink(struct cr_worker *worker)
{
    return &worker->sink;
}

static void start(struct cr_worker *worker, enum cr_work task)
{
    worker->task = task;
    worker->cancelled = false;
    pthread_cond_signal(&worker->changed);
}

void cr_worker_open(struct cr_worker *worker, const struct cr_config *config,
                    const struct cr_sealing *sealing, const char *state)
{
    pthread_mutex_lock(&worker->lock);
    worker->config = config;
    worker->sealing = sealing;
    worker->state = state;
    start(worker, CR_WORK_OPEN);
    pthread_mutex_unlock(&worker->lock);
}

void cr_worker_train(struct cr_worker *worker, const struct cr_training_task *task)
{
    pthread_mutex_lock(&worker->lock);
    worker->training = *task;
    worker->tally = (struct cr_tally){0};
    worker->progress = (struct cr_worker_progress){.steps = task->last - task->first};
    worker->began = cr_clock_monotonic();
    start(worker, CR_WORK_TRAIN);
    pthread_mutex_unlock(&worker->lock);
}

void cr_worker_save(struct cr_worker *worker, const struct cr_vector *values, const char *directory)
{
    pthread_mutex_lock(&worker->lock);
    worker->final = values;
    worker->directory = directory;
    start(worker, CR_WORK_SAVE);
    pthread_mutex_unlock(&worker->lock);
}

void cr_worker_cancel(struct cr_worker *worker)
{
    pthread_mutex_lock(&worker->lock);
    worker->cancelled = true;
    pthread_mutex_unlock(&worker->lock);
}

bool cr_worker_take(struct cr_worker *worker, struct cr_worker_result *out)
{
    pthread_mutex_lock(&worker->lock);
    bool has = worker->has_result;
    if (has) *out = worker->result;
    worker->has_result = false;
    pthread_mutex_unlock(&worker->lock);
    return has;
}

void cr_worker_look(struct cr_worker *worker, struct cr_worker_progress *out)
{
    pthread_mutex_lock(&worker->lock);
    *out = worker->progress;
    pthread_mutex_unlock(&worker->lock);
}
