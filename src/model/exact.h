// Products with a frozen int8 matrix in the arithmetic of masked products (field/product.h), but with nothing
// hidden: for a process that may see the inputs. Forward only, with words of four digits. Results have the
// same bits as masked products; processors with fast products of digits compute them faster than float32
// products.
#ifndef CARREL_MODEL_EXACT_H
#define CARREL_MODEL_EXACT_H

#include "field/product.h"

struct cr_exact;

// For matrices with at most `longest` columns and at most `longest` rows times parts of their sums
// (field/bound.h). `compute` is borrowed. One call at a time.
enum cr_status cr_exact_new(struct cr_compute *compute, size_t longest, struct cr_exact **out);
size_t cr_exact_memory_of(size_t longest);  // bytes
void cr_exact_free(struct cr_exact *exact); // NULL is allowed

// Computes the bounds of a matrix (I8), [cr_bound_parts(q.columns)], for cr_exact_forward.
enum cr_status cr_exact_bound(struct cr_matrix q, struct cr_bound *bounds);

// y = x Wᵀ: x [M,in] and y [M,out] F32 or BF16, W = scale·q with q I8 [out,in]. CR_INVALID if a row of x is
// not finite.
enum cr_status cr_exact_forward(struct cr_exact *exact, const struct cr_bound *bounds, struct cr_matrix q,
                                struct cr_matrix x, struct cr_matrix y);

#endif
