// What the tests of field/ share: numbers from a generator that is the same everywhere, and rows of numbers
// to words and back, all rows of a matrix.
#ifndef CARREL_TESTS_FIELD_SUPPORT_H
#define CARREL_TESTS_FIELD_SUPPORT_H

#include "support.h"

#include "field/product.h"

static uint64_t draw_state; // which a test sets, so that it draws the same numbers on its own

static inline uint32_t draw(void)
{
    draw_state = draw_state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(draw_state >> 32);
}

static inline void *field_row(struct cr_matrix m, size_t row)
{
    return cr_matrix_rows(m, row, 1).data;
}

// The number of rows that came before one that is not finite: x.rows where all are. t is [rows, parts].
static inline size_t encode_rows(const struct cr_field *field, const struct cr_bound *bounds, size_t parts,
                                 struct cr_matrix x, const float *scale, uint32_t *words, double *t)
{
    size_t row = 0;
    while (row < x.rows && cr_field_encode_row(field, bounds, parts, field_row(x, row), x.dtype, scale,
                                               words + row * x.columns, t + row * parts))
        row++;
    return row;
}

// words are [rows, parts, y.columns].
static inline void decode_rows(const struct cr_field *field, const uint32_t *words, const double *t,
                               size_t parts, const float *scale, struct cr_matrix y)
{
    for (size_t row = 0; row < y.rows; row++)
        cr_field_decode_row(field, words + row * parts * y.columns, t + row * parts, parts, scale, y.columns,
                            field_row(y, row), y.dtype);
}

#endif
