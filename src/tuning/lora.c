#include "tuning/lora.h"

#include "base/secret.h"
#include "crypto/random.h"
#include "tensor/matmul.h"
#include "tensor/ops.h"
#include "tuning/peft.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// Products with A and B use blocks of this many rows, so that scratch does not grow with the batch. The size
// of the blocks affects the order of summation.
enum { ROW_BLOCK = 512 };

struct cr_lora;

// The state of a lane's passes.
struct lora_walk {
    bool training;  // passes are for training: with dropout, and `low` is kept
    uint32_t micro; // the micro-batch
};

// What a lane's last forward pass in training kept for its backward pass, for modules that share their input.
struct lora_low {
    struct cr_matrix values; // [rows, modules·r] act: scale·dropout(x) Aᵀ
    size_t rows;             // how many of its rows are set
};

// LoRA on one module of one layer.
struct lora_delta {
    struct cr_delta delta; // first: the model holds a pointer to it
    struct cr_lora *lora;
    const struct cr_parameter *a, *b; // [r,in], [out,r]
    size_t in, out;
    struct lora_low *low;     // [lanes]
    size_t column;            // where its own columns of `low` begin
    struct cr_draws *dropout; // NULL without dropout
};

struct cr_lora {
    struct cr_structure base; // first
    struct cr_lora_config config;
    struct cr_compute *compute;
    enum cr_dtype act;
    float scale;
    float drop;    // probability
    size_t rows;   // of a training pass, at most; 0: not for training
    void *working; // [count] act: the values as products read them; NULL if act is F32
    struct lora_delta *deltas;
    size_t delta_count, most; // most: of modules that share an input
    struct lora_low *lows;    // [delta_count, lanes]: modules that share an input use the first one's

    const struct cr_lanes *lanes; // borrowed
    struct lora_walk *walks;      // [lanes]

    // Nothing from here on is kept between two passes that take turns.
    struct cr_arena scratch;
    void *wide;             // [ROW_BLOCK, max in] act: dropped inputs, and their gradient
    uint16_t *bits;         // [ROW_BLOCK, max in]
    float *exact;           // [ROW_BLOCK, most·r]: `low` before rounding
    void *narrow;           // [ROW_BLOCK, most·r] act: `low` if it is not kept
    float *low_gradient;    // [rows, most·r]
    void *low_gradient_act; // [rows, most·r] act; NULL if act is F32
};

// `count` matrices that are contiguous, as one: the given parameter's, and those of the modules after it.
static struct cr_matrix weights_of(const struct cr_lora *lora, const struct cr_parameter *first, size_t count)
{
    void *values = lora->act == CR_F32 ? lora->base.parameters.values : lora->working;
    char *data = (char *)values + first->offset * cr_dtype_size(lora->act);
    return cr_matrix_of(data, lora->act, count * first->shape[0], first->shape[1]);
}

static struct cr_matrix gradients_of(const struct cr_lora *lora, const struct cr_parameter *first,
                                     size_t count)
{
    return cr_matrix_of(lora->base.parameters.gradients + first->offset, CR_F32, count * first->shape[0],
                        first->shape[1]);
}

static struct lora_walk *walk_of(const struct cr_lora *lora)
{
    return &lora->walks[cr_lanes_current(lora->lanes)];
}

static struct lora_low *low_of(const struct lora_delta *delta)
{
    return &delta->low[cr_lanes_current(delta->lora->lanes)];
}

static bool drops(const struct cr_lora *lora)
{
    return walk_of(lora)->training && lora->drop > 0;
}

// Gives every pass over the same micro-batch the same bits: forward, a repeated forward, and backward.
static void rewind_dropout(struct lora_delta *self)
{
    cr_draws_seek(self->dropout, walk_of(self->lora)->micro);
}

static void next_bits(struct lora_delta *self, size_t rows)
{
    cr_draws_bytes(self->dropout, self->lora->bits, rows * self->in * sizeof(uint16_t));
}

// The result of the first thin product: scaled in F32, then rounded to the activation type unless that is
// F32.
static void scale_and_round(struct cr_lora *lora, struct cr_matrix exact, struct cr_matrix rounded)
{
    cr_scale(lora->compute, exact, lora->scale);
    if (lora->act != CR_F32) cr_copy_matrix(lora->compute, exact, rounded);
}

static struct lora_delta *delta_of(const struct cr_delta_part *part)
{
    return (struct lora_delta *)part->delta;
}

// The columns of `low` of `count` modules, from this one on.
static struct cr_matrix low_columns(const struct lora_delta *self, size_t count)
{
    return cr_matrix_columns(low_of(self)->values, self->column, count * self->lora->config.r);
}

// Each module drops different inputs: with dropout modules are processed one by one.
static enum cr_status lora_forward(const struct cr_delta_part *y, size_t count, struct cr_matrix x)
{
    struct lora_delta *self = delta_of(y);
    struct cr_lora *lora = self->lora;
    size_t r = lora->config.r;
    bool training = walk_of(lora)->training;
    if (training && x.rows > lora->rows)
        return cr_fail(CR_INTERNAL, "a forward pass of %zu rows where LoRA has room for %zu", x.rows,
                       lora->rows);
    if (drops(lora) && count > 1) {
        for (size_t i = 0; i < count; i++) CR_TRY(lora_forward(y + i, 1, x));
        return CR_OK;
    }
    if (drops(lora)) rewind_dropout(self);
    for (size_t first = 0; first < x.rows; first += ROW_BLOCK) {
        size_t rows = cr_least(x.rows - first, ROW_BLOCK);
        struct cr_matrix input = cr_matrix_rows(x, first, rows);
        if (drops(lora)) {
            struct cr_matrix dropped = cr_matrix_of(lora->wide, lora->act, rows, self->in);
            next_bits(self, rows);
            cr_dropout(lora->compute, input, lora->bits, lora->drop, dropped);
            input = dropped;
        }
        struct cr_matrix low = training ? cr_matrix_rows(low_columns(self, count), first, rows)
                                        : cr_matrix_of(lora->narrow, lora->act, rows, count * r);
        struct cr_matrix exact =
            lora->act == CR_F32 ? low : cr_matrix_of(lora->exact, CR_F32, rows, count * r);
        CR_TRY(cr_matmul(lora->compute, CR_NT, input, weights_of(lora, self->a, count), exact, false));
        scale_and_round(lora, exact, low);
        for (size_t i = 0; i < count; i++)
            CR_TRY(cr_matmul(lora->compute, CR_NT, cr_matrix_columns(low, i * r, r),
                             weights_of(lora, delta_of(&y[i])->b, 1),
                             cr_matrix_rows(y[i].columns, first, rows), true));
    }
    low_of(self)->rows = training ? x.rows : 0;
    return CR_OK;
}

// dB += dyᵀ low (which includes the scale), and the gradient of dropout(x) Aᵀ: scale · dy B, in the
// activation type. For each part; the gradients are side by side in *out.
static enum cr_status low_gradients(const struct cr_delta_part *dy, size_t count, struct cr_matrix *out)
{
    struct lora_delta *self = delta_of(dy);
    struct cr_lora *lora = self->lora;
    size_t r = lora->config.r, rows = dy->columns.rows;
    struct cr_matrix exact = cr_matrix_of(lora->low_gradient, CR_F32, rows, count * r);
    struct cr_matrix low = cr_matrix_rows(low_columns(self, count), 0, rows);
    for (size_t i = 0; i < count; i++) {
        const struct cr_parameter *b = delta_of(&dy[i])->b;
        CR_TRY(cr_matmul(lora->compute, CR_TN, dy[i].columns, cr_matrix_columns(low, i * r, r),
                         gradients_of(lora, b, 1), true));
        CR_TRY(cr_matmul(lora->compute, CR_NN, dy[i].columns, weights_of(lora, b, 1),
                         cr_matrix_columns(exact, i * r, r), false));
    }
    *out = exact;
    if (lora->act != CR_F32) *out = cr_matrix_of(lora->low_gradient_act, lora->act, rows, count * r);
    scale_and_round(lora, exact, *out);
    return CR_OK;
}

// dA += dlowᵀ dropout(x) and dx += dropoutᵀ(dlow A), block by block because the dropped x is computed again.
static enum cr_status dropped_gradients(struct lora_delta *self, struct cr_matrix x, struct cr_matrix dlow,
                                        struct cr_matrix dx)
{
    struct cr_lora *lora = self->lora;
    rewind_dropout(self);
    for (size_t first = 0; first < x.rows; first += ROW_BLOCK) {
        size_t rows = cr_least(x.rows - first, ROW_BLOCK);
        struct cr_matrix wide = cr_matrix_of(lora->wide, lora->act, rows, self->in);
        struct cr_matrix part = cr_matrix_rows(dlow, first, rows);
        next_bits(self, rows);
        cr_dropout(lora->compute, cr_matrix_rows(x, first, rows), lora->bits, lora->drop, wide);
        CR_TRY(cr_matmul(lora->compute, CR_TN, part, wide, gradients_of(lora, self->a, 1), true));
        if (!dx.data) continue;
        CR_TRY(cr_matmul(lora->compute, CR_NN, part, weights_of(lora, self->a, 1), wide, false));
        cr_dropout(lora->compute, wide, lora->bits, lora->drop, wide);
        cr_add_scaled(lora->compute, cr_matrix_rows(dx, first, rows), 1, wide);
    }
    return CR_OK;
}

static enum cr_status lora_backward(const struct cr_delta_part *dy, size_t count, struct cr_matrix x,
                                    struct cr_matrix dx)
{
    struct lora_delta *self = delta_of(dy);
    struct cr_lora *lora = self->lora;
    if (!walk_of(lora)->training || low_of(self)->rows != x.rows)
        return cr_fail(CR_INTERNAL, "%s: a backward pass without its forward pass", self->a->name);
    size_t r = lora->config.r;
    struct cr_matrix dlow;
    CR_TRY(low_gradients(dy, count, &dlow));
    if (drops(lora)) {
        for (size_t i = 0; i < count; i++)
            CR_TRY(dropped_gradients(delta_of(&dy[i]), x, cr_matrix_columns(dlow, i * r, r), dx));
        return CR_OK;
    }
    CR_TRY(cr_matmul(lora->compute, CR_TN, dlow, x, gradients_of(lora, self->a, count), true));
    if (dx.data) CR_TRY(cr_matmul(lora->compute, CR_NN, dlow, weights_of(lora, self->a, count), dx, true));
    return CR_OK;
}

static const struct cr_delta_kind delta_kind = {.forward = lora_forward, .backward = lora_backward};

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
    *walk_of((struct cr_lora *)structure) = (struct lora_walk){.training = true, .micro = micro};
}

static void lora_begin_evaluation(struct cr_structure *structure)
{
    *walk_of((struct cr_lora *)structure) = (struct lora_walk){.training = false};
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
    const struct lora_delta *delta =
        (const struct lora_delta *)structure->tuned.layers[place.layer].delta[place.module];
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
    lora->narrow = cr_arena_take(&lora->scratch, ROW_BLOCK * all, size);
    if (lora->act != CR_F32) lora->exact = cr_arena_take(&lora->scratch, ROW_BLOCK * all, sizeof(float));
    if (lora->rows == 0) return;
    if (lora->drop > 0) {
        lora->wide = cr_arena_take(&lora->scratch, ROW_BLOCK * in, size);
        lora->bits = cr_arena_take(&lora->scratch, ROW_BLOCK * in, sizeof(uint16_t));
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
    struct lora_low *low = &lora->lows[first * lanes];
    for (size_t lane = 0; lane < lanes; lane++)
        low[lane].values = cr_matrix_of(NULL, lora->act, lora->rows, count * r);
    lora->most = cr_most(lora->most, count);
    for (size_t i = 0; i < count; i++) {
        const struct cr_module_place *place = &places[first + i];
        const struct cr_parameter *a = &lora->base.parameters.items[2 * first + i];
        struct lora_delta *delta = &lora->deltas[first + i];
        *delta = (struct lora_delta){
            .delta.kind = &delta_kind, .lora = lora, .a = a, .b = a + count, .low = low, .column = i * r};
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
