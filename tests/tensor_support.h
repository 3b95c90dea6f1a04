// What the tests of tensor/ share: random operands, values of either type, every instruction set there is.
#ifndef CARREL_TESTS_TENSOR_SUPPORT_H
#define CARREL_TESTS_TENSOR_SUPPORT_H

#include "support.h"

#include "tensor/compute.h"

#include <math.h>

// The best instruction set of this processor, so that loops over all of them know where to stop.
static inline enum cr_isa best_isa(void)
{
    struct cr_compute *compute;
    assert_ok(cr_compute_new(1, &compute));
    enum cr_isa isa = cr_compute_isa(compute);
    cr_compute_free(compute);
    return isa;
}

static inline void *room(size_t count, enum cr_dtype dtype)
{
    void *block;
    assert_ok(cr_allocate(count, cr_dtype_size(dtype), &block));
    return block;
}

static inline uint16_t bf16_of(double x)
{
    float value = (float)x;
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

static inline double at(const struct cr_matrix *m, size_t i, size_t j)
{
    size_t k = i * m->stride + j;
    if (m->dtype == CR_F32) return (double)((const float *)m->data)[k];
    uint32_t bits = (uint32_t)((const uint16_t *)m->data)[k] << 16;
    float value;
    memcpy(&value, &bits, sizeof value);
    return (double)value;
}

static inline void put(const struct cr_matrix *m, size_t i, size_t j, double x)
{
    size_t k = i * m->stride + j;
    if (m->dtype == CR_F32)
        ((float *)m->data)[k] = (float)x;
    else
        ((uint16_t *)m->data)[k] = bf16_of(x);
}

// Uniform in [-1, 1), from a generator that is the same everywhere.
static inline double next_random(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (double)(int64_t)*state * 0x1p-63;
}

static inline struct cr_matrix matrix(size_t rows, size_t columns, enum cr_dtype dtype, size_t gap)
{
    size_t stride = columns + gap;
    struct cr_matrix m = cr_matrix_of(room((rows + 1) * stride, dtype), dtype, rows, columns);
    m.stride = stride;
    return m;
}

// Rows are `gap` elements further apart than they are long. The gaps and what would be one more row hold
// NaNs, which no result may meet.
static inline struct cr_matrix random_matrix(uint64_t *state, size_t rows, size_t columns,
                                             enum cr_dtype dtype, size_t gap)
{
    struct cr_matrix m = matrix(rows, columns, dtype, gap);
    for (size_t i = 0; i <= rows; i++)
        for (size_t j = 0; j < m.stride; j++)
            put(&m, i, j, i < rows && j < columns ? next_random(state) : NAN);
    return m;
}

static inline void free_matrix(struct cr_matrix *m)
{
    free(m->data);
    m->data = NULL;
}

// The rows of two matrices of one type and shape have the same bits.
static inline bool same_bits(const struct cr_matrix *a, const struct cr_matrix *b)
{
    size_t size = cr_dtype_size(a->dtype);
    for (size_t i = 0; i < a->rows; i++)
        if (memcmp((const char *)a->data + i * a->stride * size, (const char *)b->data + i * b->stride * size,
                   a->columns * size) != 0)
            return false;
    return true;
}

// |a − b| is at most `tolerance` times 1 + |b|.
static inline bool is_near(double a, double b, double tolerance)
{
    return fabs(a - b) <= tolerance * (1 + fabs(b));
}

static inline double tolerance_of(enum cr_dtype dtype)
{
    return dtype == CR_BF16 ? 0x1p-7 : 2e-6;
}

// A loop over the instruction sets that this processor has.
#define FOR_EACH_COMPUTE(compute)                                                                            \
    for (enum cr_isa isa_ = CR_ISA_SCALAR, last_ = best_isa(); isa_ <= last_; isa_++)                        \
        for (struct cr_compute *compute = open_compute(isa_); compute;                                       \
             cr_compute_free(compute), compute = NULL)

static inline struct cr_compute *open_compute(enum cr_isa isa)
{
    struct cr_compute *compute;
    assert_ok(cr_compute_new_with(2, isa, &compute));
    return compute;
}

static inline void expect_matrix(const struct cr_matrix *got, const double *want, const char *name)
{
    for (size_t i = 0; i < got->rows; i++)
        for (size_t j = 0; j < got->columns; j++)
            if (!is_near(at(got, i, j), want[i * got->columns + j], tolerance_of(got->dtype)))
                fail_msg("%s %zu x %zu (%zu, %zu) is %.9g, not %.9g", name, got->rows, got->columns, i, j,
                         at(got, i, j), want[i * got->columns + j]);
}

#endif
