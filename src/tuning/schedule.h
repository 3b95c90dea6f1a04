// The course of a run: its steps, their micro-batches, and learning rates as transformers.get_scheduler
// computes them.
#ifndef CARREL_TUNING_SCHEDULE_H
#define CARREL_TUNING_SCHEDULE_H

#include "tuning/config.h"

// The learning rate of optimiser step `step` (from 0) of `total`. During the first warmup_steps it rises
// linearly from 0 (so step 0 of a warm-up changes nothing); then it falls linearly to 0, falls by a half
// cosine to 0, or stays. With CR_SCHEDULE_CONSTANT it is the same from step 0, whatever warmup_steps is.
double cr_learning_rate(const struct cr_training_config *training, size_t step, size_t total);

// Whether a run of `total` steps ends before its warm-up does; `why` is then the warning.
enum { CR_WARMUP_TEXT_SIZE = 160 };
bool cr_warmup_never_ends(const struct cr_training_config *training, size_t total,
                          char why[CR_WARMUP_TEXT_SIZE]);

// Steps of one epoch over `examples`: whole batches and a shorter last one, in groups of
// gradient_accumulation_steps and a shorter last one, as Transformers' Trainer counts.
size_t cr_steps_per_epoch(const struct cr_training_config *training, size_t examples);

// Epochs that so many steps have completed, counted in batches: a shorter group's step counts for less.
double cr_epochs_done(const struct cr_training_config *training, size_t examples, size_t steps);

// Steps of the whole run: max_steps, or num_train_epochs · steps per epoch, rounded up.
size_t cr_steps_in_all(const struct cr_training_config *training, size_t examples);

// Examples (or packs) that one step takes if `left` are left in the epoch.
size_t cr_step_examples(const struct cr_training_config *training, size_t left);

// The same for each of its micro-batches, of which the last may be smaller: one batch; but if a step has only
// one batch, that batch is divided among the lanes, so that all of them have work.
size_t cr_micro_batch_examples(const struct cr_training_config *training, size_t left);

// The most micro-batches of a step.
size_t cr_micro_batches(const struct cr_training_config *training);

// Micro-batches that take turns: training->lanes, at least 1.
size_t cr_training_lanes(const struct cr_training_config *training);

#endif
