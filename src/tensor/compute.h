// What every numeric operation needs: threads, and the instruction set's kernels.
//
// One per process is usual; it runs one operation at a time. Results do not depend on the number of threads:
// work is split by rows, and sums are taken in an order that the shapes alone determine. They may differ
// between instruction sets.
#ifndef CARREL_TENSOR_COMPUTE_H
#define CARREL_TENSOR_COMPUTE_H

#include "base/dtype.h"
#include "base/memory.h"
#include "base/thread.h"

#include <stdbool.h>

// AVX2 includes FMA and F16C; AVX512 means F, BW, DQ and VL. AMX is AVX512_BF16 plus the matrix unit for
// products of BF16 and of bytes.
enum cr_isa { CR_ISA_SCALAR, CR_ISA_AVX2, CR_ISA_AVX512, CR_ISA_AVX512_BF16, CR_ISA_AMX };

struct cr_compute;

// `threads` as for cr_pool_new. Picks the best instruction set of this processor.
enum cr_status cr_compute_new(size_t threads, struct cr_compute **out);

// The same with this instruction set, for tests and for valgrind; CR_UNSUPPORTED if the processor lacks it.
enum cr_status cr_compute_new_with(size_t threads, enum cr_isa isa, struct cr_compute **out);
void cr_compute_free(struct cr_compute *compute);     // NULL is allowed
void cr_compute_release(struct cr_compute **compute); // frees *compute; for CR_CLEANUP

struct cr_pool *cr_compute_pool(const struct cr_compute *compute);
enum cr_isa cr_compute_isa(const struct cr_compute *compute);

// True if the processor has instructions for BF16 products with fp32 sums; otherwise models compute in fp32.
bool cr_compute_has_bf16(const struct cr_compute *compute);

// A matrix in the caller's memory: element (i, j) is at data + (i·stride + j)·size. F32, BF16, or I8, where
// row i stands for scale[i] times its integers.
struct cr_matrix {
    void *data;
    enum cr_dtype dtype;
    size_t rows;
    size_t columns;
    size_t stride;      // elements between rows, at least `columns`
    const float *scale; // of I8: [rows], else NULL
};

// With stride = columns.
struct cr_matrix cr_matrix_of(void *data, enum cr_dtype dtype, size_t rows, size_t columns);
struct cr_matrix cr_matrix_columns(struct cr_matrix m, size_t first, size_t count); // a view
struct cr_matrix cr_matrix_rows(struct cr_matrix m, size_t first, size_t count);    // a view

static inline void *cr_row(const struct cr_matrix *m, size_t i)
{
    return (unsigned char *)m->data + i * m->stride * cr_dtype_size(m->dtype);
}

// A stride for rows of that many columns: rows begin at cache lines, an odd number of lines apart. Rows whose
// distance is a multiple of some thousand bytes would compete for the same few lines of a cache.
size_t cr_spaced_stride(enum cr_dtype dtype, size_t columns);

#endif
