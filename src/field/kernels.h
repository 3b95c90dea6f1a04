// The kernels of masked products for one instruction set. Internal to field/. Every set gives the same bits:
// sums of whole numbers are exact, and other sums are taken in the same chains whatever the width of a
// vector.
#ifndef CARREL_FIELD_KERNELS_H
#define CARREL_FIELD_KERNELS_H

#include "base/dtype.h"
#include "field/mask.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    CR_PANEL = 16,                      // columns of a panel of the packed right operand
    CR_PAIR = 2 * CR_PANEL,             // columns that are multiplied at once
    CR_STEP = 4,                        // elements of the depth that are adjacent
    CR_STEP_BYTES = CR_PANEL * CR_STEP, // element k of column c at k/4·64 + c·4 + k%4
    CR_DEPTH_STEP = 64,                 // the depth is padded with zeros to a multiple of this
    CR_DIGIT_ROWS = 96, // rows of digits at a time; a multiple of what any kernel computes at once
};

struct cr_compute;
struct cr_field;

struct cr_field_kernels {
    // The largest magnitude of a row; NaN where the row holds one.
    float (*largest)(const float *w, size_t count);
    // q = round(w/scale), ties to even, clamped to ±127. Before clamping it is at most 200 in magnitude.
    void (*quantize)(const float *w, size_t count, float scale, int8_t *q);
    // values = x ∘ scale (scale may be NULL), rounded to float, and the sums of their magnitudes and of their
    // squares, with a relative error of at most 2^-20 if these are in [2^-96, 2^100].
    void (*norms)(const void *x, enum cr_dtype dtype, const float *scale, size_t count, float *values,
                  double *sum, double *squares);
    // Words of round(inverse·values), ties to even. `words` may be the memory of `values`.
    void (*encode)(const float *values, size_t count, double inverse, uint32_t p, uint32_t *words);
    // y = centre(word)·(t[0]·scale)·t[1], rounded to float at each step, plus `before` (may be NULL, or y).
    void (*decode)(const uint32_t *words, const float t[2], const float *scale, size_t count, uint32_t p,
                   const float *before, void *y, enum cr_dtype dtype);
    // Digit d of word k goes to left[d·stride + k], zeros up to the next multiple of CR_DEPTH_STEP.
    void (*split)(const uint32_t *words, size_t count, unsigned digits, uint8_t *left, size_t stride);
    // Element k of column c is at c·stride + k where `along`, at k·stride + c otherwise.
    void (*pack)(const int8_t *q, size_t stride, bool along, size_t columns, size_t depth, int8_t *right,
                 size_t panel);
    // sums [rows, CR_PAIR] = left·right for two panels, exact. `steps` is a multiple of 16, and so few that
    // sums fit. Rows up to the next multiple of CR_DIGIT_ROWS may be read and written as well.
    void (*multiply)(size_t rows, size_t steps, const uint8_t *left, size_t left_stride, const int8_t *right,
                     size_t panel, int32_t *sums);
    // y = Σ 256^d·sums[d·CR_PAIR + i] mod p, plus the old y unless `first`, minus `less` (NULL: nothing; with
    // `first` only).
    void (*combine)(const int32_t *sums, size_t count, unsigned digits, bool first, const uint32_t *less,
                    uint32_t *y);
    // out = x + r mod p.
    void (*add)(const uint32_t *x, const uint32_t *r, size_t count, uint32_t p, uint32_t *out);
    // cr_mask_open, and cr_mask_dots for at most CR_MASK_MOST words.
    bool (*open)(const volatile uint32_t *y, const volatile uint32_t *c, const uint32_t *k,
                 const uint32_t *s0, const uint32_t *s1, size_t count, unsigned digits, uint32_t *out,
                 struct cr_mask_sums *sums);
    void (*dots)(const uint32_t *s0, const uint32_t *s1, const uint32_t *w, size_t count, unsigned digits,
                 struct cr_mask_sums *sums);
};

// The fastest kernels for this processor; nobody has checked their products yet.
const struct cr_field_kernels *cr_field_kernels_for(const struct cr_compute *compute);

// The kernels that a field uses.
const struct cr_field_kernels *cr_field_kernels(const struct cr_field *field);

extern const struct cr_field_kernels cr_field_kernels__scalar;
extern const struct cr_field_kernels cr_field_kernels__avx2;
extern const struct cr_field_kernels cr_field_kernels__vnni;
extern const struct cr_field_kernels cr_field_kernels__amx;

#endif
