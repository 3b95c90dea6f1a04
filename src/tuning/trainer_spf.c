// What sparse fine-tuning trains: chosen before the first step, by the checkpoint, by the seed or, if the
// criterion needs gradients, by the first batches of the first epoch.
#include "base/secret.h"
#include "tensor/matmul.h"
#include "tuning/schedule.h"
#include "tuning/spf.h"
#include "tuning/trainer_parts.h"

#include <math.h>
#include <stdlib.h>

struct calibration;

// Collects one module's scores in the backward pass.
struct collector {
    struct cr_delta delta; // first: the model holds a pointer to it
    struct calibration *calibration;
    float *sum; // [out, in]: of the batches' gradients, or of their squares; secret
    size_t out, in;
};

struct calibration {
    struct cr_compute *compute;
    bool squares;
    struct cr_module_place *places; // [count]
    struct collector *collectors;   // [count]
    size_t count;
    float *batch; // [largest out·in]: one batch's gradient, if it is squared; secret
    struct cr_tuned tuned;
};

static void calibration_release(struct calibration *calibration)
{
    for (size_t i = 0; calibration->collectors && i < calibration->count; i++)
        cr_secret_free(&calibration->collectors[i].sum);
    cr_secret_free(&calibration->batch);
    free(calibration->collectors);
    free(calibration->places);
    free(calibration->tuned.layers);
}

static enum cr_status collect(const struct collector *self, struct cr_matrix x, struct cr_matrix dy)
{
    const struct calibration *calibration = self->calibration;
    float *target = calibration->squares ? calibration->batch : self->sum;
    struct cr_matrix gradient = cr_matrix_of(target, CR_F32, self->out, self->in);
    CR_TRY(cr_matmul(calibration->compute, CR_TN, dy, x, gradient, !calibration->squares));
    for (size_t k = 0; calibration->squares && k < self->out * self->in; k++)
        self->sum[k] += target[k] * target[k];
    return CR_OK;
}

static enum cr_status collect_all(const struct cr_delta_part *dy, size_t count, struct cr_matrix x,
                                  struct cr_matrix dx)
{
    (void)dx; // W's own contribution to dx is computed by the linear
    for (size_t i = 0; i < count; i++)
        CR_TRY(collect((const struct collector *)dy[i].delta, x, dy[i].columns));
    return CR_OK;
}

static const struct cr_delta_kind collector_kind = {.backward = collect_all};

static enum cr_status prepare(struct calibration *calibration, const struct cr_spf_config *config,
                              const struct cr_model *model)
{
    const struct cr_model_config *shape = &model->config;
    size_t largest = 0;
    calibration->compute = model->compute;
    calibration->squares = config->criterion == CR_SPF_FISHER;
    CR_TRY(cr_spf_places(config, shape, &calibration->places, &calibration->count));
    CR_TRY(cr_allocate(shape->layers, sizeof *calibration->tuned.layers, &calibration->tuned.layers));
    CR_TRY(cr_allocate(calibration->count, sizeof *calibration->collectors, &calibration->collectors));
    for (size_t i = 0; i < calibration->count; i++) {
        const struct cr_module_place *place = &calibration->places[i];
        struct collector *collector = &calibration->collectors[i];
        collector->delta.kind = &collector_kind;
        collector->calibration = calibration;
        cr_module_shape(shape, place->module, &collector->out, &collector->in);
        size_t count = collector->out * collector->in;
        CR_TRY(cr_secret_allocate(count, sizeof *collector->sum, &collector->sum));
        calibration->tuned.layers[place->layer].delta[place->module] = &collector->delta;
        largest = cr_most(largest, count);
    }
    if (!calibration->squares) return CR_OK;
    return cr_secret_allocate(largest, sizeof *calibration->batch, &calibration->batch);
}

// Runs the first batches forward and backward, with every labelled token of the same weight, however many a
// batch has. Only the order of the scores counts, so the sums are divided by the first batch's tokens, not by
// all.
static enum cr_status walk_batches(struct cr_trainer *trainer, size_t batches,
                                   struct calibration *calibration)
{
    const struct cr_trainer_walk *walk = &trainer->walks[0];
    size_t packs = trainer->packs.count, size = cr_micro_batch_examples(&trainer->training, packs);
    size_t labelled = 0;
    for (size_t b = 0; b < batches && b * size < packs; b++) {
        double loss = 0;
        CR_TRY(cr_trainer_fill(trainer, b * size, cr_least(packs, (b + 1) * size), walk->batch));
        if (b == 0) labelled = walk->batch->labelled;
        CR_TRY(cr_trainer_walk_batch(trainer, walk, &calibration->tuned, labelled, &loss));
    }
    return CR_OK;
}

static enum cr_status scores(void *context, size_t i, float *score)
{
    const struct calibration *calibration = context;
    const struct collector *collector = &calibration->collectors[i];
    for (size_t k = 0; k < collector->out * collector->in; k++) score[k] = fabsf(collector->sum[k]);
    return CR_OK;
}

static enum cr_status choose(struct cr_trainer *trainer, const struct cr_spf_config *config,
                             struct cr_spf_selection *out)
{
    if (!cr_spf_calibrates(config)) return cr_spf_select(config, trainer->model, trainer->seed, NULL, out);
    if (!trainer->data)
        return cr_fail(CR_INVALID, "spf.criterion: gradient and fisher look at what the silos of a split "
                                   "model send, of which there is nothing yet");
    CR_CLEANUP(calibration_release) struct calibration calibration = {0};
    CR_TRY(prepare(&calibration, config, trainer->model));
    enum cr_status status = walk_batches(trainer, config->calibration_batches, &calibration);
    if (status != CR_OK) return cr_fail_within(status, "calibration");
    const struct cr_spf_source source = {scores, &calibration};
    return cr_spf_select(config, trainer->model, trainer->seed, &source, out);
}

enum cr_status cr_trainer_make_spf(struct cr_trainer *trainer, const struct cr_tuning_config *config,
                                   bool training, struct cr_structure **out)
{
    struct cr_spf_selection selection;
    CR_TRY(choose(trainer, &config->spf, &selection));
    return cr_spf_new(&config->spf, &selection, trainer->model, training, out);
}
