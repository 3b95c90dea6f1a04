// The arithmetic of LoRA: what A and B add to a linear's output, and their gradients.
#include "tuning/lora_parts.h"

#include "tensor/matmul.h"
#include "tensor/ops.h"

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

static struct cr_lora_low *low_of(const struct cr_lora_delta *delta)
{
    return &delta->low[cr_lanes_current(delta->lora->lanes)];
}

static bool drops(const struct cr_lora *lora)
{
    return cr_lora_walk_of(lora)->training && lora->drop > 0;
}

// Gives every pass over the same micro-batch the same bits: forward, a repeated forward, and backward.
static void rewind_dropout(struct cr_lora_delta *self)
{
    cr_draws_seek(self->dropout, cr_lora_walk_of(self->lora)->micro);
}

static void next_bits(struct cr_lora_delta *self, size_t rows)
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

static struct cr_lora_delta *delta_of(const struct cr_delta_part *part)
{
    return (struct cr_lora_delta *)part->delta;
}

// The columns of `low` of `count` modules, from this one on.
static struct cr_matrix low_columns(const struct cr_lora_delta *self, size_t count)
{
    return cr_matrix_columns(low_of(self)->values, self->column, count * self->lora->config.r);
}

// Each module drops different inputs: with dropout modules are processed one by one.
static enum cr_status lora_forward(const struct cr_delta_part *y, size_t count, struct cr_matrix x)
{
    struct cr_lora_delta *self = delta_of(y);
    struct cr_lora *lora = self->lora;
    size_t r = lora->config.r;
    bool training = cr_lora_walk_of(lora)->training;
    if (training && x.rows > lora->rows)
        return cr_fail(CR_INTERNAL, "a forward pass of %zu rows where LoRA has room for %zu", x.rows,
                       lora->rows);
    if (drops(lora) && count > 1) {
        for (size_t i = 0; i < count; i++) CR_TRY(lora_forward(y + i, 1, x));
        return CR_OK;
    }
    if (drops(lora)) rewind_dropout(self);
    for (size_t first = 0; first < x.rows; first += CR_LORA_ROWS) {
        size_t rows = cr_least(x.rows - first, CR_LORA_ROWS);
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
    struct cr_lora_delta *self = delta_of(dy);
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
static enum cr_status dropped_gradients(struct cr_lora_delta *self, struct cr_matrix x, struct cr_matrix dlow,
                                        struct cr_matrix dx)
{
    struct cr_lora *lora = self->lora;
    rewind_dropout(self);
    for (size_t first = 0; first < x.rows; first += CR_LORA_ROWS) {
        size_t rows = cr_least(x.rows - first, CR_LORA_ROWS);
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
    struct cr_lora_delta *self = delta_of(dy);
    struct cr_lora *lora = self->lora;
    if (!cr_lora_walk_of(lora)->training || low_of(self)->rows != x.rows)
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

const struct cr_delta_kind cr_lora_delta_kind = {.forward = lora_forward, .backward = lora_backward};
