#include "tuning/schedule.h"

#include "base/memory.h"
#include "base/words.h"

#include <math.h>
#include <stdio.h>

static double at_least_one(double steps)
{
    return steps < 1 ? 1 : steps;
}

double cr_learning_rate(const struct cr_training_config *training, size_t step, size_t total)
{
    double at = (double)step, warmup = (double)training->warmup_steps, end = (double)total;
    double factor = 1;
    if (training->lr_scheduler_type == CR_SCHEDULE_CONSTANT) return training->learning_rate;
    if (step < training->warmup_steps) {
        factor = at / at_least_one(warmup);
    } else if (training->lr_scheduler_type == CR_SCHEDULE_LINEAR) {
        factor = fmax(0, (end - at) / at_least_one(end - warmup));
    } else if (training->lr_scheduler_type == CR_SCHEDULE_COSINE) {
        double progress = (at - warmup) / at_least_one(end - warmup);
        factor = fmax(0, 0.5 * (1 + cos(M_PI * progress)));
    }
    return training->learning_rate * factor;
}

bool cr_warmup_never_ends(const struct cr_training_config *training, size_t total,
                          char why[CR_WARMUP_TEXT_SIZE])
{
    if (training->lr_scheduler_type == CR_SCHEDULE_CONSTANT || training->warmup_steps < total) return false;
    snprintf(why, CR_WARMUP_TEXT_SIZE,
             "training.warmup_steps is %zu and there %s %zu step%s in all: the learning rate only rises, and "
             "never reaches learning_rate",
             training->warmup_steps, total == 1 ? "is" : "are", total, cr_plural(total));
    return true;
}

static size_t batches_per_epoch(const struct cr_training_config *training, size_t examples)
{
    size_t batch = training->per_device_train_batch_size;
    return examples / batch + (examples % batch > 0);
}

size_t cr_steps_per_epoch(const struct cr_training_config *training, size_t examples)
{
    size_t batches = batches_per_epoch(training, examples);
    size_t group = training->gradient_accumulation_steps;
    return batches / group + (batches % group > 0);
}

double cr_epochs_done(const struct cr_training_config *training, size_t examples, size_t steps)
{
    size_t whole = steps / cr_steps_per_epoch(training, examples);
    size_t within = steps % cr_steps_per_epoch(training, examples);
    return (double)whole + (double)(within * training->gradient_accumulation_steps) /
                               (double)batches_per_epoch(training, examples);
}

size_t cr_steps_in_all(const struct cr_training_config *training, size_t examples)
{
    if (training->max_steps > 0) return training->max_steps;
    return (size_t)ceil(training->num_train_epochs * (double)cr_steps_per_epoch(training, examples));
}

size_t cr_step_examples(const struct cr_training_config *training, size_t left)
{
    // Settings are bounded by their table, but another caller's product of sizes could wrap.
    size_t most;
    if (__builtin_mul_overflow(training->per_device_train_batch_size, training->gradient_accumulation_steps,
                               &most))
        return left;
    return cr_least(most, left);
}

size_t cr_micro_batch_examples(const struct cr_training_config *training, size_t left)
{
    size_t batch = training->per_device_train_batch_size, step = cr_step_examples(training, left);
    size_t lanes = cr_training_lanes(training);
    return step > batch ? batch : step / lanes + (step % lanes > 0);
}

size_t cr_micro_batches(const struct cr_training_config *training)
{
    return cr_most(training->gradient_accumulation_steps, cr_training_lanes(training));
}

size_t cr_training_lanes(const struct cr_training_config *training)
{
    return cr_most(training->lanes, 1);
}
