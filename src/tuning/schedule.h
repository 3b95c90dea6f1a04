// Learning rates over a run, as transformers.get_scheduler computes them.
#ifndef CARREL_TUNING_SCHEDULE_H
#define CARREL_TUNING_SCHEDULE_H

#include "tuning/config.h"

// The learning rate of optimiser step `step` (from 0) of `total`. During the first warmup_steps it rises
// linearly from 0 (so step 0 of a warm-up changes nothing); then it falls linearly to 0, falls by a half
// cosine to 0, or stays. "constant" with a warm-up is what Transformers calls constant_with_warmup.
double cr_learning_rate(const struct cr_training_config *training, size_t step, size_t total);

// Steps of one epoch over `examples`: whole batches and a shorter last one, in groups of
// gradient_accumulation_steps and a shorter last one, as Transformers' Trainer counts.
size_t cr_steps_per_epoch(const struct cr_training_config *training, size_t examples);

// Steps of the whole run: max_steps, or num_train_epochs · steps per epoch, rounded up.
size_t cr_steps_in_all(const struct cr_training_config *training, size_t examples);

#endif
