// Operations on elements: conversion, sums, scaling, dropout, optimiser updates.
#include "tensor/ops.h"
#include "tensor/split.h"

#include <math.h>

struct flat {
    const struct cr_kernels *kernels;
    const void *source;
    void *target;
    enum cr_dtype source_dtype, target_dtype;
    size_t count;
};

static void convert_item(void *context, size_t item, size_t thread)
{
    (void)thread;
    const struct flat *f = context;
    size_t first = item * CR_ITEM;
    f->kernels->convert((const unsigned char *)f->source + first * cr_dtype_size(f->source_dtype),
                        f->source_dtype, (unsigned char *)f->target + first * cr_dtype_size(f->target_dtype),
                        f->target_dtype, cr_least(CR_ITEM, f->count - first));
}

void cr_convert(struct cr_compute *compute, const void *src, enum cr_dtype src_dtype, void *dst,
                enum cr_dtype dst_dtype, size_t count)
{
    struct flat f = {cr_compute_kernels(compute), src, dst, src_dtype, dst_dtype, count};
    cr_pool_run(cr_compute_pool(compute), cr_items(count, CR_ITEM), convert_item, &f);
}

struct pair {
    const struct cr_kernels *kernels;
    struct cr_matrix x, y;
    size_t per_item;
    float scale, least_kept;
    const uint16_t *bits;
};

static void run_pair(struct cr_compute *compute, struct pair *pair, void (*item)(void *, size_t, size_t))
{
    pair->kernels = cr_compute_kernels(compute);
    pair->per_item = cr_item_rows(pair->y.columns);
    cr_pool_run(cr_compute_pool(compute), cr_items(pair->y.rows, pair->per_item), item, pair);
}

static void copy_item(void *context, size_t item, size_t thread)
{
    (void)thread;
    const struct pair *p = context;
    CR_FOR_ROWS(i, item, p->per_item, p->y.rows)
    p->kernels->convert(cr_row(&p->x, i), p->x.dtype, cr_row(&p->y, i), p->y.dtype, p->y.columns);
}

void cr_copy_matrix(struct cr_compute *compute, struct cr_matrix src, struct cr_matrix dst)
{
    run_pair(compute, &(struct pair){.x = src, .y = dst}, copy_item);
}

static void add_scaled_item(void *context, size_t item, size_t thread)
{
    (void)thread;
    const struct pair *p = context;
    CR_FOR_ROWS(i, item, p->per_item, p->y.rows)
    p->kernels->add_scaled(cr_row(&p->y, i), p->y.dtype, p->scale, cr_row(&p->x, i), p->x.dtype,
                           p->y.columns);
}

void cr_add_scaled(struct cr_compute *compute, struct cr_matrix y, float scale, struct cr_matrix x)
{
    run_pair(compute, &(struct pair){.x = x, .y = y, .scale = scale}, add_scaled_item);
}

static void scale_item(void *context, size_t item, size_t thread)
{
    (void)thread;
    const struct pair *p = context;
    CR_FOR_ROWS(i, item, p->per_item, p->y.rows)
    p->kernels->scale(cr_row(&p->y, i), p->y.dtype, p->scale, p->y.columns);
}

void cr_scale(struct cr_compute *compute, struct cr_matrix x, float scale)
{
    run_pair(compute, &(struct pair){.y = x, .scale = scale}, scale_item);
}

static void dropout_item(void *context, size_t item, size_t thread)
{
    (void)thread;
    const struct pair *p = context;
    CR_FOR_ROWS(i, item, p->per_item, p->y.rows)
    p->kernels->dropout(cr_row(&p->x, i), p->x.dtype, p->bits + i * p->y.columns, p->least_kept, p->scale,
                        cr_row(&p->y, i), p->y.dtype, p->y.columns);
}

void cr_dropout(struct cr_compute *compute, struct cr_matrix x, const uint16_t *bits, float p,
                struct cr_matrix y)
{
    struct pair pair = {.x = x, .y = y, .bits = bits, .scale = 1.0f / (1.0f - p), .least_kept = p * 65536.0f};
    run_pair(compute, &pair, dropout_item);
}

// A sum over all elements is split into at most SLICES slices, whose length depends only on the count.
enum { SLICES = 256 };

struct reduction {
    const struct cr_kernels *kernels;
    const float *x;
    size_t count, slice;
    double sum[SLICES];
    bool finite[SLICES];
};

static size_t slice_of(size_t count)
{
    return cr_items(cr_items(count, SLICES), CR_ITEM) * CR_ITEM;
}

static void squares_item(void *context, size_t item, size_t thread)
{
    (void)thread;
    struct reduction *r = context;
    size_t first = item * r->slice;
    r->sum[item] = r->kernels->sum_of_squares(r->x + first, cr_least(r->slice, r->count - first));
}

double cr_sum_of_squares(struct cr_compute *compute, const float *x, size_t count)
{
    if (count == 0) return 0;
    struct reduction r = {
        .kernels = cr_compute_kernels(compute), .x = x, .count = count, .slice = slice_of(count)};
    size_t slices = cr_items(count, r.slice);
    cr_pool_run(cr_compute_pool(compute), slices, squares_item, &r);
    double sum = 0;
    for (size_t i = 0; i < slices; i++) sum += r.sum[i];
    return sum;
}

static void finite_item(void *context, size_t item, size_t thread)
{
    (void)thread;
    struct reduction *r = context;
    size_t first = item * r->slice;
    r->finite[item] = r->kernels->all_finite(r->x + first, cr_least(r->slice, r->count - first));
}

bool cr_all_finite(struct cr_compute *compute, const float *x, size_t count)
{
    if (count == 0) return true;
    struct reduction r = {
        .kernels = cr_compute_kernels(compute), .x = x, .count = count, .slice = slice_of(count)};
    size_t slices = cr_items(count, r.slice);
    cr_pool_run(cr_compute_pool(compute), slices, finite_item, &r);
    for (size_t i = 0; i < slices; i++)
        if (!r.finite[i]) return false;
    return true;
}

struct update {
    const struct cr_kernels *kernels;
    struct cr_adamw_factors adamw;
    struct cr_sgd_factors sgd;
    float *value, *first, *second; // SGD's buffer is `first`
    const float *gradient;
    size_t count;
};

static void adamw_item(void *context, size_t item, size_t thread)
{
    (void)thread;
    const struct update *u = context;
    size_t at = item * CR_ITEM;
    u->kernels->adamw(&u->adamw, u->value + at, u->gradient + at, u->first + at, u->second + at,
                      cr_least(CR_ITEM, u->count - at));
}

void cr_adamw_update(struct cr_compute *compute, const struct cr_adamw *rule, uint64_t step, float *value,
                     const float *gradient, float *first_moment, float *second_moment, size_t count)
{
    struct update u = {
        .kernels = cr_compute_kernels(compute),
        .adamw = {.decay = (float)(1 - rule->learning_rate * rule->weight_decay),
                  .first_rate = (float)(1 - rule->beta1),
                  .second_keep = (float)rule->beta2,
                  .second_rate = (float)(1 - rule->beta2),
                  .inverse_root = (float)(1 / sqrt(1 - pow(rule->beta2, (double)step))),
                  .epsilon = (float)rule->epsilon,
                  .step_size = (float)(rule->learning_rate / (1 - pow(rule->beta1, (double)step)))},
        .value = value,
        .first = first_moment,
        .second = second_moment,
        .gradient = gradient,
        .count = count,
    };
    cr_pool_run(cr_compute_pool(compute), cr_items(count, CR_ITEM), adamw_item, &u);
}

static void sgd_item(void *context, size_t item, size_t thread)
{
    (void)thread;
    const struct update *u = context;
    size_t at = item * CR_ITEM;
    u->kernels->sgd(&u->sgd, u->value + at, u->gradient + at, u->first ? u->first + at : NULL,
                    cr_least(CR_ITEM, u->count - at));
}

void cr_sgd_update(struct cr_compute *compute, double learning_rate, double momentum, double weight_decay,
                   float *value, const float *gradient, float *buffer, size_t count)
{
    struct update u = {
        .kernels = cr_compute_kernels(compute),
        .sgd = {(float)learning_rate, (float)momentum, (float)weight_decay},
        .value = value,
        .first = buffer,
        .gradient = gradient,
        .count = count,
    };
    cr_pool_run(cr_compute_pool(compute), cr_items(count, CR_ITEM), sgd_item, &u);
}
