// Matrix products; accumulation is in fp32. docs/ARCHITECTURE.md says why they are our own.
#ifndef CARREL_TENSOR_MATMUL_H
#define CARREL_TENSOR_MATMUL_H

#include "tensor/compute.h"

// C = A·B, where each operand may be read transposed; with `accumulate` C += A·B.
//   CR_NT: A [M,K], B [N,K] (a weight as checkpoints store it): C = A·Bᵀ
//   CR_NN: A [M,K], B [K,N]:                                   C = A·B
//   CR_TN: A [K,M], B [K,N]:                                   C = Aᵀ·B
// A and B have one dtype (both F32 or both BF16); C is F32 or BF16. If A is F32, B may be BF16, and is
// multiplied as F32. In CR_NT and CR_NN B may also be I8 with scales. In CR_NT, then without `accumulate`,
// its integers are summed and the sums multiplied by scale[j] at the end; in CR_NN scale[k]·q is rounded to
// A's type, to nearest, as it is packed. Any of M, N, K may be small (a LoRA's r, a single row). C must not
// overlap A or B. An element of C is one chain of multiply-adds along K, which starts with the old C if it
// accumulates, and is rounded to C's type once, at the end; so computing a subset of rows or columns gives
// the same bits. BF16 products treat subnormal numbers as zero. CR_INTERNAL if shapes or types do not fit.
// Allocates nothing.
enum cr_transpose { CR_NT, CR_NN, CR_TN };

enum cr_status cr_matmul(struct cr_compute *compute, enum cr_transpose form, struct cr_matrix a,
                         struct cr_matrix b, struct cr_matrix c, bool accumulate);

#endif
