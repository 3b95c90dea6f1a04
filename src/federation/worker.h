// A silo's training on a thread of its own, so that its connection lives while a step takes minutes.
//
// One task at a time. The owner's thread starts tasks and takes results; the loop is woken when there is one.
#ifndef CARREL_FEDERATION_WORKER_H
#define CARREL_FEDERATION_WORKER_H

#include "channel/loop.h"
#include "federation/learner.h"
#include "federation/vector.h"

struct cr_worker;

enum cr_status cr_worker_new(const struct cr_learner_kind *kind, const struct cr_event_sink *sink,
                             struct cr_loop *loop, struct cr_worker **out);

// Stops the task after its present step, and waits for that. NULL is allowed.
void cr_worker_free(struct cr_worker *worker);

// The sink of the worker's events, for the owner's own ones: one event at a time reaches the real sink.
const struct cr_event_sink *cr_worker_sink(struct cr_worker *worker);

// Tasks; each copies nothing, so arguments live until the result is taken.
// Opens the learner, and loads `state` (a path) unless it is NULL. `sealing` is that of this and later
// states.
void cr_worker_open(struct cr_worker *worker, const struct cr_config *config,
                    const struct cr_sealing *sealing, const char *state);

struct cr_training_task {
    size_t first, last;            // optimiser steps
    bool reset_optimizer;          // before the first
    bool again;                    // what was trained last is not wanted: the learner goes back
    const char *back;              // to this state, then; NULL: to none
    const struct cr_vector *start; // values to begin with
    const char *state;             // path where the learner's state is saved afterwards
    bool keeps;                    // it is saved as well when the task ends early
};
void cr_worker_train(struct cr_worker *worker, const struct cr_training_task *task);

// Ends a training task after its present step; its result is then CR_CANCELLED.
void cr_worker_cancel(struct cr_worker *worker);

// Puts the values into the learner and saves it in the directory.
void cr_worker_save(struct cr_worker *worker, const struct cr_vector *values, const char *directory);

enum cr_work { CR_WORK_NONE, CR_WORK_OPEN, CR_WORK_TRAIN, CR_WORK_SAVE, CR_WORK_STOP };

struct cr_worker_result {
    enum cr_work work;
    enum cr_status status;
    char why[1024];           // where it failed
    bool of_state;            // it is the state, which cannot be gone on from
    struct cr_vector *update; // the learner's values, the caller's to release; NULL: a failure, or SAVE
    unsigned char digest[CR_SHA256_SIZE];
    unsigned char structure[CR_SHA256_SIZE]; // of opening
    bool has_base;                           // the next: of opening, where there is a model to tell it of
    struct cr_base_digest base;
    size_t total_steps, step; // of opening; steps that the state had done
    struct cr_tally tally;    // of training
};

// True once after each task.
bool cr_worker_take(struct cr_worker *worker, struct cr_worker_result *out);

// How far the training task is.
struct cr_worker_progress {
    size_t step, steps;
    double loss, tokens_per_second;
};
void cr_worker_look(struct cr_worker *worker, struct cr_worker_progress *out);

#endif
