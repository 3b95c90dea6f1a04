// Products with sparse matrices. The dense operands are transposed, TOKENS rows at a time, so that the
// numbers that an element of the matrix is multiplied with are contiguous: each element then takes TOKENS
// multiply-adds and no gathering.
#include "tensor/sparse.h"

#include "tensor/split.h"

#include <string.h>

enum {
    TOKENS = 256, // of a block: part of the order of summation
    STRIPE = 64,  // columns that a thread transposes at once
    ROWS = 32,    // of the sparse matrix that a thread takes at once
};

void cr_sparse_by_columns(struct cr_sparse *sparse)
{
    uint32_t *start = sparse->column_start;
    memset(start, 0, (sparse->columns + 1) * sizeof *start);
    for (size_t j = 0; j < sparse->count; j++) start[sparse->index[j] + 1]++;
    for (size_t c = 0; c < sparse->columns; c++) start[c + 1] += start[c];
    // Each start moves to its column's end while the column is filled, and is moved back afterwards.
    for (uint32_t r = 0; r < sparse->rows; r++)
        for (uint32_t j = sparse->start[r]; j < sparse->start[r + 1]; j++) {
            uint32_t at = start[sparse->index[j]]++;
            sparse->row[at] = r;
            sparse->place[at] = j;
        }
    memmove(start + 1, start, sparse->columns * sizeof *start);
    start[0] = 0;
}

size_t cr_sparse_scratch(size_t rows, size_t columns)
{
    return TOKENS * (rows + columns);
}

// A block of at most TOKENS rows of a matrix, and its columns as rows of TOKENS floats.
struct turn {
    const struct cr_compute *compute;
    struct cr_matrix m;
    float *turned;
};

static void turn_item(void *context, size_t item, size_t thread)
{
    (void)thread;
    const struct turn *turn = context;
    size_t first = item * STRIPE, count = cr_least(STRIPE, turn->m.columns - first);
    cr_compute_kernels(turn->compute)
        ->f32.pack_left(cr_at(&turn->m, 0, first), turn->m.dtype, turn->m.stride, false, count, turn->m.rows,
                        (uint32_t *)(void *)(turn->turned + first * TOKENS), TOKENS);
}

static void turn_in(struct cr_compute *compute, struct cr_matrix m, float *turned)
{
    struct turn turn = {compute, m, turned};
    cr_pool_run(cr_compute_pool(compute), cr_items(m.columns, STRIPE), turn_item, &turn);
}

static void add_item(void *context, size_t item, size_t thread)
{
    const struct turn *turn = context;
    const struct cr_kernels *kernels = cr_compute_kernels(turn->compute);
    size_t first = item * STRIPE, count = cr_least(STRIPE, turn->m.columns - first);
    uint32_t *flat = cr_compute_workspace(turn->compute, thread);
    kernels->f32.pack_left(turn->turned + first * TOKENS, CR_F32, TOKENS, false, turn->m.rows, count, flat,
                           STRIPE);
    for (size_t i = 0; i < turn->m.rows; i++)
        kernels->add_scaled(cr_at(&turn->m, i, first), turn->m.dtype, 1.0f, flat + i * STRIPE, CR_F32, count);
}

_Static_assert(TOKENS *STRIPE * sizeof(float) <= CR_WORKSPACE, "a stripe is turned back in the workspace");

static void add_back(struct cr_compute *compute, float *turned, struct cr_matrix m)
{
    struct turn turn = {compute, m, turned};
    cr_pool_run(cr_compute_pool(compute), cr_items(m.columns, STRIPE), add_item, &turn);
}

struct product {
    const struct cr_kernels *kernels;
    const uint32_t *start, *index, *place; // of the rows, or of the columns
    size_t rows;
    const float *values;
    const float *left, *right;
    float *to;
    size_t tokens;
};

static void product_item(void *context, size_t item, size_t thread)
{
    (void)thread;
    const struct product *p = context;
    size_t first = item * ROWS;
    p->kernels->sparse_product(p->start + first, p->index, p->place, p->values,
                               cr_least(ROWS, p->rows - first), p->right, TOKENS, p->to + first * TOKENS,
                               p->tokens);
}

static void dots_item(void *context, size_t item, size_t thread)
{
    (void)thread;
    const struct product *p = context;
    size_t first = item * ROWS;
    p->kernels->sparse_dots(p->start + first, p->index, cr_least(ROWS, p->rows - first),
                            p->left + first * TOKENS, p->right, TOKENS, p->tokens, p->to);
}

static void run(struct cr_compute *compute, struct product product,
                void (*item)(void *context, size_t item, size_t thread))
{
    product.kernels = cr_compute_kernels(compute);
    cr_pool_run(cr_compute_pool(compute), cr_items(product.rows, ROWS), item, &product);
}

void cr_sparse_forward(struct cr_compute *compute, const struct cr_sparse *sparse, const float *values,
                       struct cr_matrix x, struct cr_matrix y, float *scratch)
{
    float *turned_x = scratch, *turned_y = scratch + TOKENS * sparse->columns;
    if (sparse->count == 0) return;
    for (size_t first = 0; first < x.rows; first += TOKENS) {
        size_t rows = cr_least(TOKENS, x.rows - first);
        turn_in(compute, cr_matrix_rows(x, first, rows), turned_x);
        run(compute,
            (struct product){.start = sparse->start,
                             .index = sparse->index,
                             .rows = sparse->rows,
                             .values = values,
                             .right = turned_x,
                             .to = turned_y,
                             .tokens = rows},
            product_item);
        add_back(compute, turned_y, cr_matrix_rows(y, first, rows));
    }
}

void cr_sparse_backward(struct cr_compute *compute, const struct cr_sparse *sparse, const float *values,
                        struct cr_matrix x, struct cr_matrix dy, float *gradient, struct cr_matrix dx,
                        float *scratch)
{
    float *turned_x = scratch, *turned_dy = scratch + TOKENS * sparse->columns;
    if (sparse->count == 0) return;
    for (size_t first = 0; first < x.rows; first += TOKENS) {
        size_t rows = cr_least(TOKENS, x.rows - first);
        turn_in(compute, cr_matrix_rows(x, first, rows), turned_x);
        turn_in(compute, cr_matrix_rows(dy, first, rows), turned_dy);
        run(compute,
            (struct product){.start = sparse->start,
                             .index = sparse->index,
                             .rows = sparse->rows,
                             .left = turned_dy,
                             .right = turned_x,
                             .to = gradient,
                             .tokens = rows},
            dots_item);
        if (!dx.data) continue;
        run(compute,
            (struct product){.start = sparse->column_start,
                             .index = sparse->row,
                             .place = sparse->place,
                             .rows = sparse->columns,
                             .values = values,
                             .right = turned_dy,
                             .to = turned_x,
                             .tokens = rows},
            product_item);
        add_back(compute, turned_x, cr_matrix_rows(dx, first, rows));
    }
}

struct columns {
    const struct cr_kernels *kernels;
    struct cr_matrix x, y;
    const uint32_t *index;
    size_t per_item;
};

static void gather_item(void *context, size_t item, size_t thread)
{
    (void)thread;
    const struct columns *c = context;
    CR_FOR_ROWS(i, item, c->per_item, c->y.rows)
    c->kernels->gather(cr_row(&c->x, i), c->x.dtype, c->index, c->y.columns, cr_row(&c->y, i));
}

static void scatter_item(void *context, size_t item, size_t thread)
{
    (void)thread;
    const struct columns *c = context;
    CR_FOR_ROWS(i, item, c->per_item, c->x.rows)
    c->kernels->scatter_add(cr_row(&c->x, i), c->index, c->x.columns, cr_row(&c->y, i), c->y.dtype);
}

void cr_gather_columns(struct cr_compute *compute, struct cr_matrix x, const uint32_t *index,
                       struct cr_matrix y)
{
    struct columns columns = {cr_compute_kernels(compute), x, y, index, cr_item_rows(y.columns)};
    cr_pool_run(cr_compute_pool(compute), cr_items(y.rows, columns.per_item), gather_item, &columns);
}

void cr_scatter_add_columns(struct cr_compute *compute, struct cr_matrix x, const uint32_t *index,
                            struct cr_matrix y)
{
    struct columns columns = {cr_compute_kernels(compute), x, y, index, cr_item_rows(x.columns)};
    cr_pool_run(cr_compute_pool(compute), cr_items(x.rows, columns.per_item), scatter_item, &columns);
}
