// One optimiser step: the examples of its micro-batches, forward and backward over each, clipping, update.
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
    cr_draws_seek(trainer->shuffle, (uint32_t)epoch);
    cr_draws_shuffle(trainer->shuffle, trainer->order, count);
    trainer->epoch = epoch;
}

// The examples of the pack at this position of the epoch; *count is their number.
static const uint32_t *examples_at(const struct cr_trainer *trainer, size_t place, size_t *count)
{
    const struct cr_packs *packs = &trainer->packs;
    size_t pack = trainer->order[place];
    *count = packs->start[pack + 1] - packs->start[pack];
    return packs->items + packs->start[pack];
}

// Packs [*first, *last) of the epoch's order belong to the current step.
static void step_range(const struct cr_trainer *trainer, size_t *first, size_t *last)
{
    size_t count = trainer->packs.count;
    size_t within = trainer->step % cr_steps_per_epoch(&trainer->training, count);
    *first = within * cr_step_examples(&trainer->training, count);
    *last = *first + cr_step_examples(&trainer->training, count - *first);
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

static enum cr_status fill_batch(const struct cr_trainer *trainer, size_t first, size_t last,
                                 struct cr_batch *batch)
{
    cr_batch_clear(batch);
    for (size_t place = first; place < last; place++) {
        size_t count;
        const uint32_t *examples = examples_at(trainer, place, &count);
        for (size_t i = 0; i < count; i++)
            CR_TRY(cr_batch_add(batch, cr_dataset_at(trainer->data, examples[i])));
    }
    return CR_OK;
}

enum cr_status cr_trainer_fill(struct cr_trainer *trainer, size_t first, size_t last, struct cr_batch *batch)
{
    arrange(trainer, 0);
    return fill_batch(trainer, first, last, batch);
}

enum cr_status cr_trainer_walk_batch(const struct cr_trainer *trainer, const struct cr_trainer_walk *walk,
                                     const struct cr_tuned *tuned, size_t labelled, double *loss_sum)
{
    size_t layers = trainer->model->config.layers;
    struct cr_rows rows = cr_rows_of(walk->batch);
    CR_TRY(cr_front_forward(trainer->front_of_data, walk->pass, tuned, walk->batch, layers));
    CR_TRY(cr_pass_loss(walk->pass, tuned, &rows, 1 / (float)labelled, loss_sum, NULL));
    return cr_pass_backward(walk->pass, tuned, &rows, cr_front_cache_layer(trainer->front_of_data), layers);
}

// The micro-batches of one step: packs [first, last) of the epoch's order, `packs` at a time.
struct step {
    const struct cr_trainer *trainer;
    size_t first, last, packs;
    size_t labelled;
    struct cr_tally *sum;
};

static enum cr_status micro_batch(const struct step *step, size_t number, size_t lane)
{
    const struct cr_trainer *trainer = step->trainer;
    const struct cr_trainer_walk *walk = &trainer->walks[lane];
    size_t first = step->first + number * step->packs;
    CR_TRY(fill_batch(trainer, first, cr_least(first + step->packs, step->last), walk->batch));
    struct cr_structure *structure = trainer->structure;
    size_t micro = trainer->step * cr_micro_batches(&trainer->training) + number;
    if (structure->kind->begin_training) structure->kind->begin_training(structure, (uint32_t)micro);
    CR_TRY(cr_trainer_walk_batch(trainer, walk, &structure->tuned, step->labelled, &step->sum->loss_sum));
    step->sum->labelled += walk->batch->labelled;
    step->sum->tokens += walk->batch->rows;
    return CR_OK;
}

// Micro-batches are dealt to the lanes in turn. All lanes add to the same gradients and sums, but they take
// turns, in an order that only shapes determine.
static enum cr_status micro_batches(void *context, size_t lane)
{
    const struct step *step = context;
    size_t count = (step->last - step->first + step->packs - 1) / step->packs;
    for (size_t i = lane; i < count; i += cr_lanes_count(step->trainer->lanes))
        CR_TRY(micro_batch(step, i, lane));
    return CR_OK;
}

// Computes the gradient of the mean loss over all labelled tokens of the step, however its micro-batches
// divide them.
static enum cr_status gradient(struct cr_trainer *trainer, struct cr_tally *sum)
{
    arrange(trainer, trainer->step / cr_steps_per_epoch(&trainer->training, trainer->packs.count));
    struct step step = {.trainer = trainer, .sum = sum};
    step_range(trainer, &step.first, &step.last);
    step.packs = cr_micro_batch_examples(&trainer->training, step.last - step.first);
    step.labelled = labelled_in(trainer, step.first, step.last);

    const struct cr_structure_kind *kind = trainer->structure->kind;
    CR_TRY(kind->refresh(trainer->structure));
    cr_parameters_zero_gradients(&trainer->structure->parameters);
    CR_TRY(cr_lanes_run(trainer->lanes, micro_batches, &step));
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
