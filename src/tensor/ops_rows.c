// Operations on rows: embedding, norm, rotation, the gated unit, cross-entropy.
#include "tensor/ops.h"
#include "tensor/split.h"

#include <math.h>
#include <string.h>

// Sums over rows are split into items by columns, so that each sum is taken in row order.
enum { COLUMNS_OF_ITEM = 256 };

struct embedding {
    const struct cr_kernels *kernels;
    struct cr_matrix table, y;
    const uint32_t *ids;
    size_t per_item;
};

static void embed_item(void *context, size_t item, size_t thread)
{
    (void)thread;
    const struct embedding *e = context;
    CR_FOR_ROWS(i, item, e->per_item, e->y.rows)
    e->kernels->convert(cr_row(&e->table, e->ids[i]), e->table.dtype, cr_row(&e->y, i), CR_F32, e->y.columns);
}

void cr_embed(struct cr_compute *compute, struct cr_matrix table, const uint32_t *ids, struct cr_matrix y)
{
    struct embedding e = {cr_compute_kernels(compute), table, y, ids, cr_item_rows(y.columns)};
    cr_pool_run(cr_compute_pool(compute), cr_items(y.rows, e.per_item), embed_item, &e);
}

static void add_embed_item(void *context, size_t item, size_t thread)
{
    (void)thread;
    const struct embedding *e = context;
    CR_FOR_ROWS(i, item, e->per_item, e->y.rows)
    e->kernels->add_scaled(cr_row(&e->y, i), CR_F32, 1.0f, cr_row(&e->table, e->ids[i]), e->table.dtype,
                           e->y.columns);
}

void cr_add_embed(struct cr_compute *compute, struct cr_matrix table, const uint32_t *ids, struct cr_matrix y)
{
    struct embedding e = {cr_compute_kernels(compute), table, y, ids, cr_item_rows(y.columns)};
    cr_pool_run(cr_compute_pool(compute), cr_items(y.rows, e.per_item), add_embed_item, &e);
}

static void embed_backward_item(void *context, size_t item, size_t thread)
{
    (void)thread;
    const struct embedding *e = context;
    size_t first = item * COLUMNS_OF_ITEM, count = cr_least(COLUMNS_OF_ITEM, e->y.columns - first);
    for (size_t i = 0; i < e->y.rows; i++)
        e->kernels->add_scaled(cr_at(&e->table, e->ids[i], first), CR_F32, 1.0f, cr_at(&e->y, i, first),
                               CR_F32, count);
}

void cr_embed_backward(struct cr_compute *compute, const uint32_t *ids, struct cr_matrix dy,
                       struct cr_matrix dtable)
{
    struct embedding e = {cr_compute_kernels(compute), dtable, dy, ids, 0};
    cr_pool_run(cr_compute_pool(compute), cr_items(dy.columns, COLUMNS_OF_ITEM), embed_backward_item, &e);
}

struct broadcast {
    const struct cr_kernels *kernels;
    struct cr_matrix x;
    const float *row;
    float *sums;
    size_t per_item;
};

static void add_row_item(void *context, size_t item, size_t thread)
{
    (void)thread;
    const struct broadcast *b = context;
    CR_FOR_ROWS(i, item, b->per_item, b->x.rows)
    b->kernels->add_scaled(cr_row(&b->x, i), b->x.dtype, 1.0f, b->row, CR_F32, b->x.columns);
}

void cr_add_row(struct cr_compute *compute, struct cr_matrix y, const float *row)
{
    struct broadcast b = {
        .kernels = cr_compute_kernels(compute), .x = y, .row = row, .per_item = cr_item_rows(y.columns)};
    cr_pool_run(cr_compute_pool(compute), cr_items(y.rows, b.per_item), add_row_item, &b);
}

static void add_column_sums_item(void *context, size_t item, size_t thread)
{
    (void)thread;
    const struct broadcast *b = context;
    size_t first = item * COLUMNS_OF_ITEM, count = cr_least(COLUMNS_OF_ITEM, b->x.columns - first);
    for (size_t i = 0; i < b->x.rows; i++)
        b->kernels->add_scaled(b->sums + first, CR_F32, 1.0f, cr_at(&b->x, i, first), b->x.dtype, count);
}

void cr_add_column_sums(struct cr_compute *compute, struct cr_matrix x, float *sums)
{
    struct broadcast b = {.kernels = cr_compute_kernels(compute), .x = x, .sums = sums};
    cr_pool_run(cr_compute_pool(compute), cr_items(x.columns, COLUMNS_OF_ITEM), add_column_sums_item, &b);
}

struct norm {
    const struct cr_kernels *kernels;
    struct cr_matrix x, y, dy, dx;
    const float *weight;
    const float *bias; // of a layer norm only
    float epsilon;
    float *inverse; // or a layer norm's statistics; so is given_inverse
    const float *given_inverse;
    float *dweight;
    size_t per_item;
};

static void rms_norm_item(void *context, size_t item, size_t thread)
{
    (void)thread;
    const struct norm *n = context;
    CR_FOR_ROWS(i, item, n->per_item, n->x.rows)
    n->inverse[i] = n->kernels->rms_norm(cr_row(&n->x, i), n->weight, n->epsilon, cr_row(&n->y, i),
                                         n->y.dtype, n->x.columns);
}

void cr_rms_norm(struct cr_compute *compute, struct cr_matrix x, const float *weight, float epsilon,
                 struct cr_matrix y, float *inverse)
{
    struct norm n = {.kernels = cr_compute_kernels(compute),
                     .x = x,
                     .y = y,
                     .weight = weight,
                     .epsilon = epsilon,
                     .inverse = inverse,
                     .per_item = cr_item_rows(x.columns)};
    cr_pool_run(cr_compute_pool(compute), cr_items(x.rows, n.per_item), rms_norm_item, &n);
}

static void rms_norm_backward_item(void *context, size_t item, size_t thread)
{
    (void)thread;
    const struct norm *n = context;
    CR_FOR_ROWS(i, item, n->per_item, n->x.rows)
    n->kernels->rms_norm_backward(cr_row(&n->x, i), n->weight, n->given_inverse[i], cr_row(&n->dy, i),
                                  n->dy.dtype, cr_row(&n->dx, i), n->x.columns);
}

static void rms_norm_weight_item(void *context, size_t item, size_t thread)
{
    (void)thread;
    const struct norm *n = context;
    size_t first = item * COLUMNS_OF_ITEM, count = cr_least(COLUMNS_OF_ITEM, n->x.columns - first);
    for (size_t i = 0; i < n->x.rows; i++)
        n->kernels->rms_norm_weight(cr_at(&n->x, i, first), n->given_inverse[i], cr_at(&n->dy, i, first),
                                    n->dy.dtype, n->dweight + first, count);
}

typedef void norm_item(void *context, size_t item, size_t thread);

// dx by rows, and then, if it is wanted, the weight's gradient by columns.
static void run_norm_backward(struct cr_compute *compute, struct norm *n, norm_item *rows, norm_item *columns)
{
    struct cr_pool *pool = cr_compute_pool(compute);
    n->kernels = cr_compute_kernels(compute);
    n->per_item = cr_item_rows(n->x.columns);
    cr_pool_run(pool, cr_items(n->x.rows, n->per_item), rows, n);
    if (n->dweight) cr_pool_run(pool, cr_items(n->x.columns, COLUMNS_OF_ITEM), columns, n);
}

void cr_rms_norm_backward(struct cr_compute *compute, struct cr_matrix x, const float *weight,
                          const float *inverse, struct cr_matrix dy, struct cr_matrix dx, float *dweight)
{
    struct norm n = {
        .x = x, .dy = dy, .dx = dx, .weight = weight, .given_inverse = inverse, .dweight = dweight};
    run_norm_backward(compute, &n, rms_norm_backward_item, rms_norm_weight_item);
}

static void layer_norm_item(void *context, size_t item, size_t thread)
{
    (void)thread;
    const struct norm *n = context;
    CR_FOR_ROWS(i, item, n->per_item, n->x.rows)
    n->kernels->layer_norm(cr_row(&n->x, i), n->weight, n->bias, n->epsilon, cr_row(&n->y, i), n->y.dtype,
                           n->x.columns, n->inverse + 2 * i);
}

void cr_layer_norm(struct cr_compute *compute, struct cr_matrix x, const float *weight, const float *bias,
                   float epsilon, struct cr_matrix y, float *statistics)
{
    struct norm n = {.kernels = cr_compute_kernels(compute),
                     .x = x,
                     .y = y,
                     .weight = weight,
                     .bias = bias,
                     .epsilon = epsilon,
                     .inverse = statistics,
                     .per_item = cr_item_rows(x.columns)};
    cr_pool_run(cr_compute_pool(compute), cr_items(x.rows, n.per_item), layer_norm_item, &n);
}

static void layer_norm_backward_item(void *context, size_t item, size_t thread)
{
    (void)thread;
    const struct norm *n = context;
    CR_FOR_ROWS(i, item, n->per_item, n->x.rows)
    n->kernels->layer_norm_backward(cr_row(&n->x, i), n->weight, n->given_inverse + 2 * i, cr_row(&n->dy, i),
                                    n->dy.dtype, cr_row(&n->dx, i), n->x.columns);
}

static void layer_norm_weight_item(void *context, size_t item, size_t thread)
{
    (void)thread;
    const struct norm *n = context;
    size_t first = item * COLUMNS_OF_ITEM, count = cr_least(COLUMNS_OF_ITEM, n->x.columns - first);
    for (size_t i = 0; i < n->x.rows; i++)
        n->kernels->layer_norm_weight(cr_at(&n->x, i, first), n->given_inverse + 2 * i,
                                      cr_at(&n->dy, i, first), n->dy.dtype, n->dweight + first, count);
}

void cr_layer_norm_backward(struct cr_compute *compute, struct cr_matrix x, const float *weight,
                            const float *statistics, struct cr_matrix dy, struct cr_matrix dx, float *dweight)
{
    struct norm n = {
        .x = x, .dy = dy, .dx = dx, .weight = weight, .given_inverse = statistics, .dweight = dweight};
    run_norm_backward(compute, &n, layer_norm_backward_item, layer_norm_weight_item);
}

struct rotation {
    const struct cr_kernels *kernels;
    struct cr_matrix x;
    size_t heads, head_dim, per_item;
    const float *cosine, *sine;
    const uint32_t *position;
    bool inverse;
};

static void rope_item(void *context, size_t item, size_t thread)
{
    (void)thread;
    const struct rotation *r = context;
    CR_FOR_ROWS(i, item, r->per_item, r->x.rows)
    {
        size_t at = r->position[i] * (r->head_dim / 2);
        r->kernels->rope(cr_row(&r->x, i), r->x.dtype, r->heads, r->head_dim, r->cosine + at, r->sine + at,
                         r->inverse);
    }
}

void cr_rope(struct cr_compute *compute, struct cr_matrix x, size_t heads, size_t head_dim,
             const float *cosine, const float *sine, const uint32_t *position, bool inverse)
{
    struct rotation r = {cr_compute_kernels(compute),
                         x,
                         heads,
                         head_dim,
                         cr_item_rows(heads * head_dim),
                         cosine,
                         sine,
                         position,
                         inverse};
    cr_pool_run(cr_compute_pool(compute), cr_items(x.rows, r.per_item), rope_item, &r);
}

struct activation {
    const struct cr_kernels *kernels;
    struct cr_matrix x, y, dx; // y is dy in the backward
    bool erf;
    size_t per_item;
};

static void gelu_item(void *context, size_t item, size_t thread)
{
    (void)thread;
    const struct activation *a = context;
    CR_FOR_ROWS(i, item, a->per_item, a->y.rows)
    a->kernels->gelu(cr_row(&a->x, i), cr_row(&a->y, i), a->y.dtype, a->y.columns, a->erf);
}

void cr_gelu(struct cr_compute *compute, struct cr_matrix x, struct cr_matrix y, bool erf)
{
    struct activation a = {.kernels = cr_compute_kernels(compute),
                           .x = x,
                           .y = y,
                           .erf = erf,
                           .per_item = cr_item_rows(y.columns)};
    cr_pool_run(cr_compute_pool(compute), cr_items(y.rows, a.per_item), gelu_item, &a);
}

static void gelu_backward_item(void *context, size_t item, size_t thread)
{
    (void)thread;
    const struct activation *a = context;
    CR_FOR_ROWS(i, item, a->per_item, a->y.rows)
    a->kernels->gelu_backward(cr_row(&a->x, i), cr_row(&a->y, i), cr_row(&a->dx, i), a->y.dtype, a->y.columns,
                              a->erf);
}

void cr_gelu_backward(struct cr_compute *compute, struct cr_matrix x, struct cr_matrix dy,
                      struct cr_matrix dx, bool erf)
{
    struct activation a = {cr_compute_kernels(compute), x, dy, dx, erf, cr_item_rows(dy.columns)};
    cr_pool_run(cr_compute_pool(compute), cr_items(dy.rows, a.per_item), gelu_backward_item, &a);
}

struct gated {
    const struct cr_kernels *kernels;
    struct cr_matrix gate_up, y, dgate_up; // y is dy in the backward
    size_t per_item;
};

static void swiglu_item(void *context, size_t item, size_t thread)
{
    (void)thread;
    const struct gated *g = context;
    size_t count = g->y.columns;
    CR_FOR_ROWS(i, item, g->per_item, g->y.rows)
    g->kernels->swiglu(cr_row(&g->gate_up, i), cr_at(&g->gate_up, i, count), cr_row(&g->y, i), g->y.dtype,
                       count);
}

void cr_swiglu(struct cr_compute *compute, struct cr_matrix gate_up, struct cr_matrix y)
{
    struct gated g = {.kernels = cr_compute_kernels(compute),
                      .gate_up = gate_up,
                      .y = y,
                      .per_item = cr_item_rows(y.columns)};
    cr_pool_run(cr_compute_pool(compute), cr_items(y.rows, g.per_item), swiglu_item, &g);
}

static void swiglu_backward_item(void *context, size_t item, size_t thread)
{
    (void)thread;
    const struct gated *g = context;
    size_t count = g->y.columns;
    CR_FOR_ROWS(i, item, g->per_item, g->y.rows)
    g->kernels->swiglu_backward(cr_row(&g->gate_up, i), cr_at(&g->gate_up, i, count), cr_row(&g->y, i),
                                cr_row(&g->dgate_up, i), cr_at(&g->dgate_up, i, count), g->y.dtype, count);
}

void cr_swiglu_backward(struct cr_compute *compute, struct cr_matrix gate_up, struct cr_matrix dy,
                        struct cr_matrix dgate_up)
{
    struct gated g = {cr_compute_kernels(compute), gate_up, dy, dgate_up, cr_item_rows(dy.columns)};
    cr_pool_run(cr_compute_pool(compute), cr_items(dy.rows, g.per_item), swiglu_backward_item, &g);
}

struct entropy {
    const struct cr_kernels *kernels;
    struct cr_matrix logits, dlogits;
    const int32_t *label;
    float scale;
    float *loss;
    bool *rank1;
    size_t per_item;
};

// Of equal largest logits the first is the arg max.
static bool is_first_largest(const float *x, size_t label, float maximum)
{
    if (!(x[label] == maximum)) return false;
    for (size_t j = 0; j < label; j++)
        if (x[j] == maximum) return false;
    return true;
}

static void cross_entropy_row(const struct entropy *e, size_t i)
{
    const struct cr_kernels *kernels = e->kernels;
    float *x = cr_row(&e->logits, i);
    size_t count = e->logits.columns;
    void *row = e->dlogits.data ? cr_row(&e->dlogits, i) : NULL;
    enum cr_dtype dtype = e->dlogits.dtype;
    if (e->label[i] < 0) {
        e->loss[i] = 0.0f;
        if (e->rank1) e->rank1[i] = false;
        if (row) memset(row, 0, count * cr_dtype_size(dtype));
        return;
    }
    size_t label = (size_t)e->label[i];
    float maximum = kernels->maximum(x, count), chosen = x[label];
    if (e->rank1) e->rank1[i] = is_first_largest(x, label, maximum);
    float sum = kernels->exponentials(x, maximum, row ? x : NULL, count);
    e->loss[i] = (float)(log((double)sum) + (double)maximum - (double)chosen);
    if (!row) return;
    // Subtract one before rounding to BF16: the difference may be far smaller than either operand.
    float at_label = (x[label] / sum - 1.0f) * e->scale;
    kernels->scaled(x, e->scale / sum, row, dtype, count);
    kernels->convert(&at_label, CR_F32, (unsigned char *)row + label * cr_dtype_size(dtype), dtype, 1);
}

static void cross_entropy_item(void *context, size_t item, size_t thread)
{
    (void)thread;
    const struct entropy *e = context;
    CR_FOR_ROWS(i, item, e->per_item, e->logits.rows)
    cross_entropy_row(e, i);
}

void cr_cross_entropy(struct cr_compute *compute, struct cr_matrix logits, const int32_t *label, float scale,
                      float *loss, bool *rank1, struct cr_matrix dlogits)
{
    struct entropy e = {cr_compute_kernels(compute), logits, dlogits, label, scale, loss, rank1,
                        cr_item_rows(logits.columns)};
    cr_pool_run(cr_compute_pool(compute), cr_items(logits.rows, e.per_item), cross_entropy_item, &e);
}
