#include "model/exact.h"

#include <stdatomic.h>
#include <stdlib.h>

// Rows per block: more of them make packing the matrix cheaper for each row, but take memory.
enum { ROWS = 128, DIGITS = 4 };

struct cr_exact {
    struct cr_compute *compute;
    struct cr_field *field;
    uint32_t *words, *results; // [ROWS, longest]
    double *t;                 // [ROWS, parts]
};

struct rows {
    const struct cr_exact *exact;
    const struct cr_bound *bounds;
    size_t parts;
    const float *scale;
    struct cr_matrix x, y;
    atomic_bool bad;
};

enum cr_status cr_exact_bound(struct cr_matrix q, struct cr_bound *bounds)
{
    return cr_bound_new(&q, false, DIGITS, bounds);
}

static enum cr_status make(struct cr_exact *exact, size_t longest)
{
    CR_TRY(cr_field_new(exact->compute, DIGITS, &exact->field));
    CR_TRY(cr_allocate(ROWS * cr_bound_parts(longest, false), sizeof *exact->t, &exact->t));
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
    return ROWS * (2 * longest * sizeof(uint32_t) + cr_bound_parts(longest, false) * sizeof(double));
}

void cr_exact_free(struct cr_exact *exact)
{
    if (!exact) return;
    cr_field_free(exact->field);
    free(exact->t);
    free(exact->words);
    free(exact->results);
    free(exact);
}

static void encode(void *context, size_t row, size_t thread)
{
    struct rows *rows = context;
    (void)thread;
    if (!cr_field_encode_row(rows->exact->field, rows->bounds, rows->parts, cr_row(&rows->x, row),
                             rows->x.dtype, NULL, rows->exact->words + row * rows->x.columns,
                             rows->exact->t + row * rows->parts))
        atomic_store(&rows->bad, true);
}

static void decode(void *context, size_t row, size_t thread)
{
    const struct rows *rows = context;
    (void)thread;
    cr_field_decode_row(rows->exact->field, rows->exact->results + row * rows->parts * rows->y.columns,
                        rows->exact->t + row * rows->parts, rows->parts, rows->scale, rows->y.columns,
                        cr_row(&rows->y, row), rows->y.dtype);
}

enum cr_status cr_exact_forward(struct cr_exact *exact, const struct cr_bound *bounds, struct cr_matrix q,
                                struct cr_matrix x, struct cr_matrix y)
{
    struct cr_pool *pool = cr_compute_pool(exact->compute);
    for (size_t row = 0; row < x.rows; row += ROWS) {
        size_t count = cr_least(ROWS, x.rows - row);
        struct rows rows = {.exact = exact,
                            .bounds = bounds,
                            .parts = cr_bound_parts(q.columns, false),
                            .scale = q.scale,
                            .x = cr_matrix_rows(x, row, count),
                            .y = cr_matrix_rows(y, row, count)};
        cr_pool_run(pool, count, encode, &rows);
        if (atomic_load(&rows.bad)) return cr_fail(CR_INVALID, "a row holds NaN or infinity");
        cr_field_multiply(exact->field, exact->words, count, q, false, rows.parts, exact->results);
        cr_pool_run(pool, count, decode, &rows);
    }
    return CR_OK;
}
