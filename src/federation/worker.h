// Trains on a thread of its own, so that a silo's connection stays alive while a step takes minutes.
//
// There is one task at a time. The owner's thread starts tasks and takes results; the loop is woken when
// there is a result.
#ifndef CARREL_FEDERATION_WORKER_H
#define CARREL_FEDERATION_WORKER_H

#include "channel/loop.h"
#include "federation/learner.h"
#include "federation/vector.h"

struct cr_worker;

enum cr_status cr_worker_new(const struct cr_learner_kind *kind, const struct cr_event_sink *sink,
                             struct cr_loop *loop, struct cr_worker **out);

// Stops the task after its current step, and waits for that. NULL is allowed.
void cr_worker_free(struct cr_worker *worker);

// The sink of the worker's events. The owner must use it for its own events too, so that only one event at a
// time reaches the real sink.
const struct cr_event_sink *cr_worker_sink(struct cr_worker *worker);

// The tasks copy no argument but struct cr_training_task itself: strings and objects must stay valid until
// the result is taken.
//
// Opens the learner, and loads `state` (a path) unless it is NULL. `sealing` is for this and all later
// states, and must outlive the worker's tasks, like `config`.
void cr_worker_open(struct cr_worker *worker, const struct cr_config *config,
                    const struct cr_sealing *sealing, const char *state);

struct cr_training_task {
    size_t first, last;            // optimiser steps [first, last)
    bool reset_optimizer;          // before the first step
    bool again;                    // what was trained last is discarded: first go back to an earlier state
    const char *back;              // path of that state; NULL: only reset the optimiser
    const struct cr_vector *start; // start values
    const char *state;             // path to which the learner's state is saved afterwards
    bool keeps;                    // save it also if the task is cancelled
};
void cr_worker_train(struct cr_worker *worker, const struct cr_training_task *task);

// Ends a training task after its current step; its result is then CR_CANCELLED.
void cr_worker_cancel(struct cr_worker *worker);

// Sets the learner's values and saves it in the directory.
void cr_worker_save(struct cr_worker *worker, const struct cr_vector *values, const char *directory);

enum cr_work { CR_WORK_NONE, CR_WORK_OPEN, CR_WORK_TRAIN, CR_WORK_SAVE, CR_WORK_STOP };

struct cr_worker_result {
    enum cr_work work;
    enum cr_status status;
    char why[1024];           // message of a failure
    bool of_state;            // the failure is in the state, from which training cannot continue
    struct cr_vector *update; // the learner's values; the caller releases it; NULL: a failure, or SAVE
    unsigned char digest[CR_SHA256_SIZE];
    unsigned char structure[CR_SHA256_SIZE]; // after opening
    bool has_base;                           // `base` is set: after opening, if the model could be read
    struct cr_base_digest base;
    size_t total_steps, step; // after opening; `step`: steps that the state had done
    struct cr_tally tally;    // after training
};

// Takes the result of a task; true once for each task.
bool cr_worker_take(struct cr_worker *worker, struct cr_worker_result *out);

// The progress of the training task.
struct cr_worker_progress {
    size_t step, steps;
    double loss, tokens_per_second;
};
void cr_worker_look(struct cr_worker *worker, struct cr_worker_progress *out);

#endif
