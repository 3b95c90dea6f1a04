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

enum {
    CR_MASK_MOST = 1 << 17, // words that one call takes into sums
    CR_MASK_LANES = 8,
};

// Σ s0[i]·w[i] and Σ s1[i]·w[i] mod p on their way, whose words may come by several calls: {0} to begin with.
// All words are below p.
struct cr_mask_sums {
    uint64_t lanes[2][CR_MASK_LANES];
};

// out = y − c + k mod p, [count]; k below p. c and k may be NULL, for zeros. False where a word of y or c is
// not below p: out and sums are then undefined. y and c may lie where somebody else writes meanwhile: each of
// their words is loaded once, and what was compared with p is what was added. out may be k. `sums` takes out
// with s0 and s1; NULL, and these are not looked at.
[[nodiscard]] bool cr_mask_open(const struct cr_field *field, const volatile uint32_t *y,
                                const volatile uint32_t *c, const uint32_t *k, const uint32_t *s0,
                                const uint32_t *s1, size_t count, uint32_t *out, struct cr_mask_sums *sums);

// `sums` takes w, of any length, with s0 and s1.
void cr_mask_dots(const struct cr_field *field, const uint32_t *s0, const uint32_t *s1, const uint32_t *w,
                  size_t count, struct cr_mask_sums *sums);

// Both, below p.
void cr_mask_total(const struct cr_field *field, const struct cr_mask_sums *sums, uint32_t total[2]);

// Whether two totals are the same, in a time that does not depend on where they differ.
bool cr_mask_agree(const uint32_t a[2], const uint32_t b[2]);

#endif
