// Products with a frozen matrix of int8 in the arithmetic of masked ones (field/product.h), but with nothing
// hidden: for whoever may see what is multiplied. Forward alone, with words of four digits. They have the
// bits of masked products, and where digits are multiplied fast they are faster than products of float32.
#ifndef CARREL_MODEL_EXACT_H
#define CARREL_MODEL_EXACT_H

#include "field/product.h"

struct cr_exact;

// For matrices with no more than `longest` columns, nor rows times parts of their sums (field/bound.h);
// `compute` is borrowed. One call at a time.
enum cr_status cr_exact_new(struct cr_compute *compute, size_t longest, struct cr_exact **out);
size_t cr_exact_memory_of(size_t longest);  // bytes
void cr_exact_free(struct cr_exact *exact); // NULL is allowed

// The bounds of a matrix (I8), [cr_bound_parts(q.columns)], which its products need.
enum cr_status cr_exact_bound(struct cr_matrix q, struct cr_bound *bounds);

// y [M,out] F32 or BF16 = x Wᵀ, x [M,in] F32 or BF16, W = scale·q of q (I8 [out,in] with scales). A row of x
// that is not finite is CR_INVALID.
enum cr_status cr_exact_forward(struct cr_exact *exact, const struct cr_bound *bounds, struct cr_matrix q,
                                struct cr_matrix x, struct cr_matrix y);

#endif
