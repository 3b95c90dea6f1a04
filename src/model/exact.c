#include "model/exact.h"

#include <stdatomic.h>
#include <stdlib.h>

// Rows at a time: many make up for packing a matrix, and are memory.
enum { ROWS = 128, DIGITS = 4 };

struct cr_exact {
    struct cr_compute *compute;
    struct cr_field *field;
    uint32_t *words, *results; // [ROWS, longest]
    double t[ROWS];
};

struct rows {
    const struct cr_exact *exact;
    const struct cr_bound *bound;
    const float *scale;
    struct cr_matrix x, y;
    double *t;
    atomic_bool bad;
};

enum cr_status cr_exact_bound(struct cr_matrix q, struct cr_bound *out)
{
    return cr_bound_new(&q, false, DIGITS, out);
}

static enum cr_status make(struct cr_exact *exact, size_t longest)
{
    CR_TRY(cr_field_new(exact->compute, DIGITS, &exact->field));
    CR_TRY(cr_allocate(ROWS * longest, sizeof *exact->words, &exact->words));
    return cr_allocate(ROWS * longest, sizeof *exact->results, &exact->results);
}

enum cr_status cr_exact_new(struct cr_compute *compute, size_t longest, struct cr_exact **out)
{
    struct cr_exact *exact;
    CR_TRY(cr_allocate(1, sizeof *exact, &exact));
    exact->compute = compute;
    enum cr_status status = make(exact, longest);
    if (status == CR_OK)
        *out = exact;
    else
        cr_exact_free(exact);
    return status;
}

size_t cr_exact_memory_of(size_t longest)
{
    return 2 * ROWS * longest * sizeof(uint32_t);
}

void cr_exact_free(struct cr_exact *exact)
{
    if (!exact) return;
    cr_field_free(exact->field);
    free(exact->words);
    free(exact->results);
    free(exact);
}

static void *row_of(const struct cr_matrix *m, size_t row)
{
    return (unsigned char *)m->data + row * m->stride * cr_dtype_size(m->dtype);
}

static void encode(void *context, size_t row, size_t thread)
{
    struct rows *rows = context;
    (void)thread;
    if (!cr_field_encode_row(rows->exact->field, rows->bound, row_of(&rows->x, row), rows->x.dtype, NULL,
                             rows->exact->words + row * rows->x.columns, &rows->t[row]))
        atomic_store(&rows->bad, true);
}

static void decode(void *context, size_t row, size_t thread)
{
    const struct rows *rows = context;
    (void)thread;
    cr_field_decode_row(rows->exact->field, rows->exact->results + row * rows->y.columns, rows->t[row],
                        rows->scale, rows->y.columns, row_of(&rows->y, row), rows->y.dtype);
}

enum cr_status cr_exact_forward(struct cr_exact *exact, const struct cr_bound *bound, struct cr_matrix q,
                                struct cr_matrix x, struct cr_matrix y)
{
    struct cr_pool *pool = cr_compute_pool(exact->compute);
    for (size_t row = 0; row < x.rows; row += ROWS) {
        size_t count = cr_least(ROWS, x.rows - row);
        struct rows rows = {.exact = exact,
                            .bound = bound,
                            .scale = q.scale,
                            .x = cr_matrix_rows(x, row, count),
                            .y = cr_matrix_rows(y, row, count),
                            .t = exact->t};
        cr_pool_run(pool, count, encode, &rows);
        if (atomic_load(&rows.bad)) return cr_fail(CR_INVALID, "a row holds NaN or infinity");
        cr_field_multiply(exact->field, exact->words, count, q, false, exact->results);
        cr_pool_run(pool, count, decode, &rows);
    }
    return CR_OK;
}
