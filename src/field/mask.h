// Adding and removing pads, and the sums that show whether a product is correct: what a trusted process does
// with a row of words besides the products themselves (product.h). Nothing here branches on a word or uses
// one as an address, and every instruction set gives the same bits.
//
// These work on one row in the caller's thread; callers distribute rows over threads. A secret vector s of a
// matrix is a row too: for two of them, the verification vectors Qᵀ s, with s [2, Q's rows], are
// cr_field_multiply(field, s, 2, q, true, 1, v), and Q s, with s [2, Q's columns], is the same with `false`.
#ifndef CARREL_FIELD_MASK_H
#define CARREL_FIELD_MASK_H

#include "field/product.h"

// out = x + r mod p, [count]; x and r below p. out may be x or r.
void cr_mask_add(const struct cr_field *field, const uint32_t *x, const uint32_t *r, size_t count,
                 uint32_t *out);

enum {
    CR_MASK_MOST = 1 << 17, // the most words of one cr_mask_open with sums
    CR_MASK_LANES = 8,
};

// The running sums Σ s0[i]·w[i] and Σ s1[i]·w[i] mod p, over words from several calls. Start with {0}. All
// words are below p.
struct cr_mask_sums {
    uint64_t lanes[2][CR_MASK_LANES];
};

// out = y − c + k mod p, [count]; k below p. c and k may be NULL, for zeros. out may be k. Returns false if a
// word of y or c is not below p: out and sums are then undefined. Another process may be writing to y and c:
// each of their words is loaded exactly once, so the value that was compared with p is the value that is
// used. Adds out, multiplied by s0 and s1, to `sums`; with NULL s0 and s1 are not used.
[[nodiscard]] bool cr_mask_open(const struct cr_field *field, const volatile uint32_t *y,
                                const volatile uint32_t *c, const uint32_t *k, const uint32_t *s0,
                                const uint32_t *s1, size_t count, uint32_t *out, struct cr_mask_sums *sums);

// Adds w, of any length, multiplied by s0 and s1, to `sums`.
void cr_mask_dots(const struct cr_field *field, const uint32_t *s0, const uint32_t *s1, const uint32_t *w,
                  size_t count, struct cr_mask_sums *sums);

// Both sums, reduced to words below p.
void cr_mask_total(const struct cr_field *field, const struct cr_mask_sums *sums, uint32_t total[2]);

// Whether two totals are the same, in a time that does not depend on where they differ.
bool cr_mask_agree(const uint32_t a[2], const uint32_t b[2]);

#endif
