// Products with sparse matrices whose pattern is fixed and whose values change: the trained part of a frozen
// linear (tuning/spf.h). Sums do not depend on the number of threads; none of these allocates or fails.
#ifndef CARREL_TENSOR_SPARSE_H
#define CARREL_TENSOR_SPARSE_H

#include "tensor/compute.h"

#include <stdint.h>

// S [rows, columns] with `count` elements, row by row and ascending within a row (CSR): row r has elements
// start[r] to start[r + 1]. The same by columns: the i-th element in that order is in row row[i], and is
// element place[i] of the order by rows.
struct cr_sparse {
    size_t rows, columns, count;
    uint32_t *start;        // [rows + 1]
    uint32_t *index;        // [count] columns
    uint32_t *column_start; // [columns + 1]
    uint32_t *row;          // [count]
    uint32_t *place;        // [count]
};

// Fills the members that are by columns from those by rows.
void cr_sparse_by_columns(struct cr_sparse *sparse);

// Floats of scratch for the products below, for matrices of at most so many rows and columns.
size_t cr_sparse_scratch(size_t rows, size_t columns);

// y += x Sᵀ: x [M,columns] act, y [M,rows] act or F32, values [count]. An element of y is rounded once, after
// a chain over the elements of its row.
void cr_sparse_forward(struct cr_compute *compute, const struct cr_sparse *sparse, const float *values,
                       struct cr_matrix x, struct cr_matrix y, float *scratch);

// gradient[j] += Σ_t dy[t, row of j]·x[t, column of j] in F32, in blocks of 256 tokens whose vector lanes are
// summed separately; dx += dy S: dy [M,rows] act, dx [M,columns] F32, or without data if it is not needed.
void cr_sparse_backward(struct cr_compute *compute, const struct cr_sparse *sparse, const float *values,
                        struct cr_matrix x, struct cr_matrix dy, float *gradient, struct cr_matrix dx,
                        float *scratch);

// y[:, j] = x[:, index[j]], both of one type; y[:, index[j]] += x[:, j], x F32, where no index occurs twice.
void cr_gather_columns(struct cr_compute *compute, struct cr_matrix x, const uint32_t *index,
                       struct cr_matrix y);
void cr_scatter_add_columns(struct cr_compute *compute, struct cr_matrix x, const uint32_t *index,
                            struct cr_matrix y);

#endif
