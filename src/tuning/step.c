// One optimiser step: the examples of its micro-batches, forward and back over each, clipping, update.
#include "tuning/evaluate.h"
#include "tuning/schedule.h"
#include "tuning/trainer_parts.h"

#include <math.h>

// The permutation of an epoch depends on seed and epoch alone.
static void arrange(struct cr_trainer *trainer, size_t epoch)
{
    if (trainer->epoch == epoch) return;
    size_t count = trainer->packs.count;
    for (size_t i = 0; i < count; i++) trainer->order[i] = (uint32_t)i;
    cr_stream_seek(trainer->shuffle, (uint32_t)epoch);
    cr_stream_shuffle(trainer->shuffle, trainer->order, count);
    trainer->epoch = epoch;
}

// The examples of the pack at that place of the epoch, *count of them.
static const uint32_t *examples_at(const struct cr_trainer *trainer, size_t place, size_t *count)
{
    const struct cr_packs *packs = &trainer->packs;
    size_t pack = trainer->order[place];
    *count = packs->start[pack + 1] - packs->start[pack];
    return packs->items + packs->start[pack];
}

// Packs [*first, *last) of the epoch's order belong to the step.
static void step_range(const struct cr_trainer *trainer, size_t *first, size_t *last)
{
    size_t count = trainer->packs.count;
    size_t batch = trainer->training.per_device_train_batch_size;
    size_t group = trainer->training.gradient_accumulation_steps;
    size_t within = trainer->step % cr_steps_per_epoch(&trainer->training, count);
    // The settings are bounded by their table, but a caller's product of sizes may still wrap.
    size_t packs;
    if (__builtin_mul_overflow(batch, group, &packs) || packs > count) packs = count;
    *first = within * packs;
    *last = *first + packs < count ? *first + packs : count;
}

static size_t labelled_in(const struct cr_trainer *trainer, size_t first, size_t last)
{
    size_t labelled = 0;
    for (size_t place = first; place < last; place++) {
        size_t count;
        const uint32_t *examples = examples_at(trainer, place, &count);
        for (size_t i = 0; i < count; i++) labelled += cr_dataset_at(trainer->data, examples[i]).labelled;
    }
    return labelled;
}

static enum cr_status fill_batch(struct cr_trainer *trainer, size_t first, size_t last)
{
    cr_batch_clear(trainer->batch);
    for (size_t place = first; place < last; place++) {
        size_t count;
        const uint32_t *examples = examples_at(trainer, place, &count);
        for (size_t i = 0; i < count; i++)
            CR_TRY(cr_batch_add(trainer->batch, cr_dataset_at(trainer->data, examples[i])));
    }
    return CR_OK;
}

static enum cr_status micro_batch(struct cr_trainer *trainer, size_t first, size_t last, size_t micro,
                                  size_t labelled, struct cr_tally *sum)
{
    CR_TRY(fill_batch(trainer, first, last));
    struct cr_rows rows = cr_rows_of(trainer->batch);
    struct cr_structure *structure = trainer->structure;
    size_t layers = trainer->model->config.layers;
    if (structure->kind->begin_training) structure->kind->begin_training(structure, (uint32_t)micro);
    CR_TRY(cr_pass_forward(trainer->pass, &structure->tuned, &rows, 0, layers));
    CR_TRY(cr_pass_loss(trainer->pass, &structure->tuned, &rows, 1 / (float)labelled, &sum->loss_sum, NULL));
    CR_TRY(cr_pass_backward(trainer->pass, &structure->tuned, &rows, 0, layers));
    sum->labelled += trainer->batch->labelled;
    sum->tokens += trainer->batch->rows;
    return CR_OK;
}

// Gradient of the mean loss over all labelled tokens of the step, however they lie in its micro-batches.
static enum cr_status gradient(struct cr_trainer *trainer, struct cr_tally *sum)
{
    arrange(trainer, trainer->step / cr_steps_per_epoch(&trainer->training, trainer->packs.count));
    size_t first, last;
    step_range(trainer, &first, &last);
    size_t labelled = labelled_in(trainer, first, last);

    CR_TRY(trainer->structure->kind->refresh(trainer->structure));
    cr_parameters_zero_gradients(&trainer->structure->parameters);
    size_t batch = trainer->training.per_device_train_batch_size;
    size_t micro = trainer->step * trainer->training.gradient_accumulation_steps;
    while (first < last) {
        size_t end = last - first > batch ? first + batch : last;
        CR_TRY(micro_batch(trainer, first, end, micro, labelled, sum));
        first = end;
        micro++;
    }
    const struct cr_structure_kind *kind = trainer->structure->kind;
    return kind->finish_gradient ? kind->finish_gradient(trainer->structure) : CR_OK;
}

enum cr_status cr_trainer_do_step(struct cr_trainer *trainer, struct cr_tally *tally, double *grad_norm)
{
    struct cr_tally sum = {0};
    enum cr_status status = gradient(trainer, &sum);
    if (status != CR_OK) return cr_fail_within(status, "training step %zu", trainer->step + 1);
    struct cr_parameters *parameters = &trainer->structure->parameters;
    const char *hint = " (try a lower learning_rate)";
    if (!isfinite(sum.loss_sum)) {
        status = cr_model_fail_nonfinite(trainer->model, "the loss", hint);
        return cr_fail_within(status, "training step %zu", trainer->step + 1);
    }
    double norm = cr_gradient_clip(trainer->compute, parameters, trainer->training.max_grad_norm);
    if (!isfinite(norm))
        return cr_fail(CR_INVALID, "training step %zu: the gradient is NaN or infinite%s", trainer->step + 1,
                       hint);
    double rate = cr_learning_rate(&trainer->training, trainer->step, trainer->total_steps);
    cr_optimizer_update(&trainer->optimizer, trainer->compute, &trainer->training, rate, parameters);
    trainer->step++;
    sum.steps = 1;
    cr_tally_add(tally, &sum);
    *grad_norm = norm;
    return CR_OK;
}
