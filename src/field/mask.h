// Words under a pad, and the sums that tell whether a product is the right one: what a trusted process does
// to a row of words beside the products themselves (product.h). Nothing here branches on a word or takes one
// for an address, and every instruction set gives the same bits.
//
// These work on one row in the caller's thread; callers deal rows to threads. A secret vector s of a matrix
// is a row as well, so the verification vectors Qᵀ s of two of them, s [2, Q's rows], are
// cr_field_multiply(field, s, 2, q, true, 1, v), and Q s, s [2, Q's columns], is the same with `false`.
#ifndef CARREL_FIELD_MASK_H
#define CARREL_FIELD_MASK_H

#include "field/product.h"

// out = x + r mod p, [count]; x and r below p. out may be x or r.
void cr_mask_add(const struct cr_field *field, const uint32_t *x, const uint32_t *r, size_t count,
                 uint32_t *out);

// out = y − c + k mod p, [count]; k below p. False where a word of y or c is not: out is then undefined. y
// and c may lie where somebody else writes meanwhile: each of their words is loaded once, and what was
// compared with p is what was added. out may be k.
[[nodiscard]] bool cr_mask_open(const struct cr_field *field, const volatile uint32_t *y,
                                const volatile uint32_t *c, const uint32_t *k, size_t count, uint32_t *out);

// sums[j] = Σ sj[i]·w[i] mod p; all words below p.
void cr_mask_dots(const struct cr_field *field, const uint32_t *s0, const uint32_t *s1, const uint32_t *w,
                  size_t count, uint32_t sums[2]);

#endif
