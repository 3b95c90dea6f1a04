// Products modulo p with a frozen int8 matrix, and conversion between rows of floats and words of the field.
//
// The steps of a masked product are: cr_field_encode_row; a pad is added (mask.h); cr_field_multiply, by
// whoever computes it; the pad's product is subtracted; cr_field_decode_row. Every instruction set and number
// of threads gives the same bits. Words are [rows, columns] without gaps, in [0, p) (prime.h).
#ifndef CARREL_FIELD_PRODUCT_H
#define CARREL_FIELD_PRODUCT_H

#include "field/bound.h"
#include "field/prime.h"

// How digits are multiplied. VNNI is that of AVX-512; AVX2 without it multiplies twice in 16 bits, to be
// exact.
enum cr_field_path { CR_FIELD_SCALAR, CR_FIELD_AVX2, CR_FIELD_VNNI, CR_FIELD_AMX };

struct cr_field;

// `digits` is 4 or 3, which selects p. Uses the fastest path of this processor that gave the same sums as the
// scalar path when it was tried at the ends of the range. `compute` is borrowed.
enum cr_status cr_field_new(struct cr_compute *compute, unsigned digits, struct cr_field **out);

// The same with exactly this path, for tests; CR_UNSUPPORTED if the processor lacks it or it is not exact.
enum cr_status cr_field_new_with(struct cr_compute *compute, unsigned digits, enum cr_field_path path,
                                 struct cr_field **out);
void cr_field_free(struct cr_field *field); // NULL is allowed; wipes its work space

enum cr_field_path cr_field_path(const struct cr_field *field);
unsigned cr_field_digits(const struct cr_field *field);

// Encodes a row x of F32 or BF16: words [K] = round(x/t), with a t for each part, t [parts], from the bounds
// [parts] of the matrix and direction that the words will be multiplied with. If `scale` is not NULL, each
// number is first multiplied by its element of `scale` in fp32: backward, by the scales of Q's rows. Works in
// the calling thread. False if x is not finite: words and t are then undefined.
bool cr_field_encode_row(const struct cr_field *field, const struct cr_bound *bounds, size_t parts,
                         const void *x, enum cr_dtype dtype, const float *scale, uint32_t *words, double *t);

// Decodes a row: y[i] = Σ centre(words[part, i])·t[part]·scale[i] over the parts (scale NULL: 1), words
// [parts, count], y F32 or BF16. Each term has a relative error of at most 2⁻²² in fp32; terms are added in
// fp32, then rounded to y's type. Works in the calling thread.
void cr_field_decode_row(const struct cr_field *field, const uint32_t *words, const double *t, size_t parts,
                         const float *scale, size_t count, void *y, enum cr_dtype dtype);

// y = x Qᵀ (x [rows, q.columns], y [rows, parts, q.rows]) or, backward, x Q (x [rows, q.rows], y [rows,
// parts, q.columns]), mod p: a separate sum for each part of the depth (cr_bound_begin); 1 part gives whole
// sums. q is I8; its scales are not used. y must not overlap x.
void cr_field_multiply(struct cr_field *field, const uint32_t *x, size_t rows, struct cr_matrix q,
                       bool backward, size_t parts, uint32_t *y);

// Rows in a ring: row i is at words + (turn + i) % around rows.
struct cr_field_circle {
    const uint32_t *words;
    size_t turn, around;
};

// The same minus other words, mod p: the product − the rows of `less`, which have the form of y's (NULL:
// nothing). A word of `less` that is not below p gives a meaningless word of y.
void cr_field_multiply_less(struct cr_field *field, const uint32_t *x, size_t rows, struct cr_matrix q,
                            bool backward, size_t parts, const struct cr_field_circle *less, uint32_t *y);

#endif
