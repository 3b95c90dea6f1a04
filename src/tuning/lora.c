#include "tuning/lora_parts.h"

#include "base/secret.h"
#include "tensor/matmul.h"
#include "tensor/ops.h"
#include "tuning/peft.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static enum cr_status lora_refresh(struct cr_structure *structure)
{
    struct cr_lora *lora = (struct cr_lora *)structure;
    if (lora->act != CR_F32)
        cr_convert(lora->compute, structure->parameters.values, CR_F32, lora->working, lora->act,
                   structure->parameters.count);
    return CR_OK;
}

static void lora_begin_training(struct cr_structure *structure, uint32_t micro)
{
    *cr_lora_walk_of((struct cr_lora *)structure) = (struct cr_lora_walk){.training = true, .micro = micro};
}

static void lora_begin_evaluation(struct cr_structure *structure)
{
    *cr_lora_walk_of((struct cr_lora *)structure) = (struct cr_lora_walk){.training = false};
}

static enum cr_status lora_describe(const struct cr_structure *structure, struct cr_hasher *hasher)
{
    const struct cr_lora *lora = (const struct cr_lora *)structure;
    CR_CLEANUP(cr_buffer_release) struct cr_buffer text = {0};
    CR_TRY(cr_append_format(&text, "lora %zu %.17g %.17g\n", lora->config.r, cr_lora_scale(&lora->config),
                            lora->config.lora_dropout));
    return cr_hasher_add(hasher, cr_buffer_slice(&text));
}

static enum cr_status lora_save(struct cr_structure *structure, const char *base, const char *directory)
{
    const struct cr_peft_config config = {.method = CR_METHOD_LORA,
                                          .lora = ((struct cr_lora *)structure)->config};
    return cr_peft_write(directory, &config, base, &structure->model->config, &structure->parameters);
}

// W += scale · B A, a few rows at a time: allocating memory of the matrix's size would cost more than the
// product.
static enum cr_status lora_merge(const struct cr_structure *structure, struct cr_module_place place,
                                 struct cr_matrix weight)
{
    enum { ROWS = 64 };
    const struct cr_lora *lora = (const struct cr_lora *)structure;
    const struct cr_lora_delta *delta =
        (const struct cr_lora_delta *)structure->tuned.layers[place.layer].delta[place.module];
    float *values = structure->parameters.values;
    struct cr_matrix a =
        cr_matrix_of(values + delta->a->offset, CR_F32, delta->a->shape[0], delta->a->shape[1]);
    struct cr_matrix b =
        cr_matrix_of(values + delta->b->offset, CR_F32, delta->b->shape[0], delta->b->shape[1]);
    CR_FREE float *product = NULL;
    CR_TRY(cr_allocate(cr_least(weight.rows, ROWS) * weight.columns, sizeof *product, &product));
    for (size_t row = 0; row < weight.rows; row += ROWS) {
        size_t rows = cr_least(weight.rows - row, ROWS);
        struct cr_matrix change = cr_matrix_of(product, CR_F32, rows, weight.columns);
        CR_TRY(cr_matmul(lora->compute, CR_NN, cr_matrix_rows(b, row, rows), a, change, false));
        cr_add_scaled(lora->compute, cr_matrix_rows(weight, row, rows), lora->scale, change);
    }
    return CR_OK;
}

static void lora_release(struct cr_structure *structure)
{
    struct cr_lora *lora = (struct cr_lora *)structure;
    for (size_t i = 0; i < lora->delta_count; i++) cr_draws_free(lora->deltas[i].dropout);
    free(lora->deltas);
    free(lora->lows);
    free(lora->walks);
    cr_secret_free(&lora->working);
    if (lora->scratch.base) cr_wipe(lora->scratch.base, lora->scratch.size);
    cr_arena_release(&lora->scratch);
    cr_targets_release(&lora->config.targets);
}

static size_t lora_memory(const struct cr_structure *structure)
{
    const struct cr_lora *lora = (const struct cr_lora *)structure;
    size_t working = lora->act == CR_F32 ? 0 : structure->parameters.count * cr_dtype_size(lora->act);
    return lora->scratch.size + working;
}

static const struct cr_structure_kind lora_kind = {
    .refresh = lora_refresh,
    .begin_training = lora_begin_training,
    .begin_evaluation = lora_begin_evaluation,
    .describe = lora_describe,
    .save = lora_save,
    .merge = lora_merge,
    .release = lora_release,
    .memory = lora_memory,
};

// Places the scratch; called first to count its size, then to place it.
static void lay_out(struct cr_lora *lora)
{
    size_t size = cr_dtype_size(lora->act), r = lora->config.r, all = lora->most * r, in = 0;
    for (size_t i = 0; i < lora->delta_count; i++) in = cr_most(in, lora->deltas[i].in);
    lora->narrow = cr_arena_take(&lora->scratch, CR_LORA_ROWS * all, size);
    if (lora->act != CR_F32) lora->exact = cr_arena_take(&lora->scratch, CR_LORA_ROWS * all, sizeof(float));
    if (lora->rows == 0) return;
    if (lora->drop > 0) {
        lora->wide = cr_arena_take(&lora->scratch, CR_LORA_ROWS * in, size);
        lora->bits = cr_arena_take(&lora->scratch, CR_LORA_ROWS * in, sizeof(uint16_t));
    }
    lora->low_gradient = cr_arena_take(&lora->scratch, lora->rows * all, sizeof(float));
    if (lora->act != CR_F32) lora->low_gradient_act = cr_arena_take(&lora->scratch, lora->rows * all, size);
    size_t lanes = cr_lanes_count(lora->lanes);
    for (size_t i = 0; i < lora->delta_count * lanes; i++) {
        struct cr_matrix *values = &lora->lows[i].values;
        values->data = cr_arena_take(&lora->scratch, lora->rows * values->columns, size);
    }
}

// Puts deltas into `count` places of the model that share their input, from `first` on.
static enum cr_status share_input(struct cr_lora *lora, const struct cr_module_place *places, size_t first,
                                  size_t count, uint64_t seed)
{
    size_t lanes = cr_lanes_count(lora->lanes), r = lora->config.r;
    struct cr_lora_low *low = &lora->lows[first * lanes];
    for (size_t lane = 0; lane < lanes; lane++)
        low[lane].values = cr_matrix_of(NULL, lora->act, lora->rows, count * r);
    lora->most = cr_most(lora->most, count);
    for (size_t i = 0; i < count; i++) {
        const struct cr_module_place *place = &places[first + i];
        const struct cr_parameter *a = &lora->base.parameters.items[2 * first + i];
        struct cr_lora_delta *delta = &lora->deltas[first + i];
        *delta = (struct cr_lora_delta){.delta.kind = &cr_lora_delta_kind,
                                        .lora = lora,
                                        .a = a,
                                        .b = a + count,
                                        .low = low,
                                        .column = i * r};
        cr_module_shape(&lora->base.model->config, place->module, &delta->out, &delta->in);
        lora->base.tuned.layers[place->layer].delta[place->module] = &delta->delta;
        lora->delta_count++;
        if (lora->drop > 0 && lora->rows > 0) {
            char label[160];
            snprintf(label, sizeof label, "lora dropout %s", a->name);
            CR_TRY(cr_draws_new(seed, label, &delta->dropout));
        }
    }
    return CR_OK;
}

// Makes the parameters and puts a delta into each place of the model.
static enum cr_status make_deltas(struct cr_lora *lora, uint64_t seed)
{
    struct cr_structure *base = &lora->base;
    const struct cr_model_config *model = &base->model->config;
    CR_FREE struct cr_module_place *places = NULL;
    size_t count, lanes = cr_lanes_count(lora->lanes);
    CR_TRY(cr_lora_places(&lora->config, model, &places, &count));
    CR_TRY(cr_lora_parameters(&lora->config, model, places, count, &base->parameters));
    CR_TRY(cr_allocate(model->layers, sizeof *base->tuned.layers, &base->tuned.layers));
    CR_TRY(cr_allocate(lanes, sizeof *lora->walks, &lora->walks));
    CR_TRY(cr_allocate(count, sizeof *lora->deltas, &lora->deltas));
    CR_TRY(cr_allocate(count * lanes, sizeof *lora->lows, &lora->lows));
    for (size_t i = 0, n; i < count; i += n) {
        n = cr_lora_sharing(places + i, count - i);
        CR_TRY(share_input(lora, places, i, n, seed));
    }
    return CR_OK;
}

static enum cr_status build(struct cr_lora *lora, const struct cr_lora_config *config, uint64_t seed)
{
    struct cr_parameters *parameters = &lora->base.parameters;
    struct cr_targets targets;
    CR_TRY(cr_targets_copy(&config->targets, &targets));
    lora->config = *config;
    lora->config.targets = targets;
    lora->scale = (float)cr_lora_scale(config);
    lora->drop = (float)config->lora_dropout;
    CR_TRY(make_deltas(lora, seed));
    CR_TRY(cr_parameters_commit(parameters, lora->rows > 0));
    if (lora->act != CR_F32)
        CR_TRY(cr_secret_allocate(parameters->count, cr_dtype_size(lora->act), &lora->working));
    lay_out(lora);
    CR_TRY(cr_arena_commit(&lora->scratch));
    lay_out(lora);
    return CR_OK;
}

enum cr_status cr_lora_new(const struct cr_lora_config *config, struct cr_model *model, uint64_t seed,
                           size_t rows, const struct cr_lanes *lanes, struct cr_structure **out)
{
    struct cr_lora *lora;
    CR_TRY(cr_allocate(1, sizeof *lora, &lora));
    lora->base = (struct cr_structure){.kind = &lora_kind, .model = model};
    lora->compute = model->compute;
    lora->act = model->act;
    lora->rows = rows;
    lora->lanes = lanes;
    enum cr_status status = build(lora, config, seed);
    if (status == CR_OK)
        *out = &lora->base;
    else
        cr_structure_free(&lora->base);
    return status;
}

enum cr_status cr_lora_initialise(struct cr_structure *structure, uint64_t seed)
{
    const struct cr_lora *lora = (const struct cr_lora *)structure;
    float *values = structure->parameters.values;
    for (size_t i = 0; i < lora->delta_count; i++) {
        const struct cr_parameter *a = lora->deltas[i].a, *b = lora->deltas[i].b;
        char label[160];
        snprintf(label, sizeof label, "lora initial %s", a->name);
        struct cr_draws *stream;
        CR_TRY(cr_draws_new(seed, label, &stream));
        double bound = 1 / sqrt((double)a->shape[1]);
        for (size_t k = 0; k < a->count; k++)
            values[a->offset + k] = (float)((2 * cr_draws_uniform(stream) - 1) * bound);
        cr_draws_free(stream);
        memset(values + b->offset, 0, b->count * sizeof(float));
    }
    return CR_OK;
}
