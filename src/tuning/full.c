#include "tuning/full.h"

#include "crypto/random.h"
#include "tensor/matmul.h"
#include "tuning/checkpoint.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

// Collects the gradient of one module's weight.
struct full_delta {
    struct cr_delta delta; // first: the model holds a pointer to it
    struct cr_compute *compute;
    struct cr_matrix gradient; // [out,in] F32, in the parameters' vector
};

struct cr_full {
    struct cr_structure base; // first
    struct full_delta *deltas;
};

static enum cr_status full_backward(const struct cr_delta_part *dy, size_t count, struct cr_matrix x,
                                    struct cr_matrix dx)
{
    (void)dx; // W's own contribution to dx is computed by the linear
    for (size_t i = 0; i < count; i++) {
        const struct full_delta *self = (const struct full_delta *)dy[i].delta;
        CR_TRY(cr_matmul(self->compute, CR_TN, dy[i].columns, x, self->gradient, true));
    }
    return CR_OK;
}

static const struct cr_delta_kind delta_kind = {.backward = full_backward};

static enum cr_status full_refresh(struct cr_structure *structure)
{
    for (size_t i = 0; i < structure->parameters.item_count; i++)
        CR_TRY(cr_model_set(structure->model, i,
                            structure->parameters.values + structure->parameters.items[i].offset));
    return CR_OK;
}

static enum cr_status full_describe(const struct cr_structure *structure, struct cr_hasher *hasher)
{
    (void)structure;
    return cr_hasher_add(hasher, cr_slice_of_string("full\n"));
}

static enum cr_status full_save(struct cr_structure *structure, const char *base, const char *directory)
{
    return cr_checkpoint_write(directory, base, structure->model, &structure->parameters);
}

static void full_release(struct cr_structure *structure)
{
    free(((struct cr_full *)structure)->deltas);
}

static size_t full_memory(const struct cr_structure *structure)
{
    (void)structure;
    return 0;
}

static const struct cr_structure_kind full_kind = {
    .refresh = full_refresh,
    .describe = full_describe,
    .save = full_save,
    .release = full_release,
    .memory = full_memory,
};

// Sets where passes add the gradient of parameter i.
static void attach(struct cr_full *full, size_t i)
{
    struct cr_tuned *tuned = &full->base.tuned;
    const struct cr_model_parameter *place = &full->base.model->parameters[i];
    float *gradient = full->base.parameters.gradients + full->base.parameters.items[i].offset;
    float **target = cr_tuned_gradient(tuned, place);
    if (target) {
        *target = gradient;
        // A tied head's gradient is added to the embedding's.
        if (place->kind == CR_PARAMETER_EMBEDDING && full->base.model->config.tied_head)
            tuned->head_gradient = gradient;
        return;
    }
    full->deltas[i] = (struct full_delta){
        .delta.kind = &delta_kind,
        .compute = full->base.model->compute,
        .gradient = cr_matrix_of(gradient, CR_F32, place->rows, place->columns),
    };
    tuned->layers[place->layer].delta[place->module] = &full->deltas[i].delta;
}

static enum cr_status build(struct cr_full *full)
{
    const struct cr_model *model = full->base.model;
    struct cr_parameters *parameters = &full->base.parameters;
    struct cr_tuned *tuned = &full->base.tuned;
    for (size_t i = 0; i < model->parameter_count; i++)
        CR_TRY(cr_parameters_add(parameters, model->parameters[i].name, model->parameters[i].rows,
                                 model->parameters[i].columns));
    CR_TRY(cr_parameters_commit(parameters, true));
    CR_TRY(cr_allocate(model->config.layers, sizeof *tuned->layers, &tuned->layers));
    CR_TRY(cr_allocate(model->parameter_count, sizeof *full->deltas, &full->deltas));
    for (size_t i = 0; i < model->parameter_count; i++) attach(full, i);
    return CR_OK;
}

enum cr_status cr_full_new(struct cr_model *model, struct cr_structure **out)
{
    struct cr_full *full;
    CR_TRY(cr_allocate(1, sizeof *full, &full));
    full->base = (struct cr_structure){.kind = &full_kind, .model = model};
    enum cr_status status = build(full);
    if (status == CR_OK)
        *out = &full->base;
    else
        cr_structure_free(&full->base);
    return status;
}

enum cr_status cr_full_load(struct cr_structure *structure)
{
    struct cr_parameters *parameters = &structure->parameters;
    const struct cr_model *model = structure->model;
    for (size_t i = 0; i < parameters->item_count; i++) {
        const struct cr_parameter *item = &parameters->items[i];
        if (!model->weights)
            return cr_fail(CR_INTERNAL, "%s: the model has no checkpoint to start from", item->name);
        const struct cr_tensor_entry *entry = cr_parameter_entry(&model->parameters[i], model->weights);
        CR_TRY(cr_parameter_decode(model->compute, &model->parameters[i], entry->bytes, entry->dtype,
                                   parameters->values + item->offset));
    }
    return CR_OK;
}

static double deviation_of(const struct cr_model *model, const struct cr_model_parameter *place,
                           double deviation)
{
    bool end = place->kind == CR_PARAMETER_MODULE && (place->module == CR_O || place->module == CR_DOWN);
    if (!end || model->config.layout != CR_LAYOUT_GPT2) return deviation;
    return deviation / sqrt(2 * (double)model->config.layers);
}

enum cr_status cr_full_initialise(struct cr_structure *structure, uint64_t seed, double deviation)
{
    struct cr_parameters *parameters = &structure->parameters;
    for (size_t i = 0; i < parameters->item_count; i++) {
        const struct cr_parameter *item = &parameters->items[i];
        float *values = parameters->values + item->offset;
        const struct cr_model_parameter *place = &structure->model->parameters[i];
        if (item->rank == 1) {
            bool bias = cr_parameter_is_bias(place);
            for (size_t k = 0; k < item->count; k++) values[k] = bias ? 0 : 1;
            continue;
        }
        char label[256];
        snprintf(label, sizeof label, "full initial %s", item->name);
        struct cr_draws *stream;
        CR_TRY(cr_draws_new(seed, label, &stream));
        double own = deviation_of(structure->model, place, deviation);
        for (size_t k = 0; k < item->count; k++) values[k] = (float)(own * cr_draws_normal(stream));
        cr_draws_free(stream);
    }
    return CR_OK;
}
