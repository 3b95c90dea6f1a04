// Products modulo p with a frozen matrix of int8, and the way between rows of numbers and words of the field.
//
// A masked product goes: cr_field_encode_row, a pad added (mask.h), cr_field_multiply by whoever computes,
// the pad's product taken away, cr_field_decode_row. Every instruction set and number of threads gives the
// same bits. Words are [rows, columns] without gaps, in [0, p) (prime.h).
#ifndef CARREL_FIELD_PRODUCT_H
#define CARREL_FIELD_PRODUCT_H

#include "field/bound.h"
#include "field/prime.h"

// How digits are multiplied. VNNI is that of AVX-512; without it AVX2 takes twice 16 bits, exactly.
enum cr_field_path { CR_FIELD_SCALAR, CR_FIELD_AVX2, CR_FIELD_VNNI, CR_FIELD_AMX };

struct cr_field;

// `digits` 4 or 3, which names p. Takes the fastest path that this processor has and that gave the scalar
// path's sums when it was tried at the ends of the range. `compute` is borrowed.
enum cr_status cr_field_new(struct cr_compute *compute, unsigned digits, struct cr_field **out);

// The same with that very path, for tests; one that is not to be had, or that is not exact, is
// CR_UNSUPPORTED.
enum cr_status cr_field_new_with(struct cr_compute *compute, unsigned digits, enum cr_field_path path,
                                 struct cr_field **out);
void cr_field_free(struct cr_field *field); // NULL is allowed; wipes what it worked in

enum cr_field_path cr_field_path(const struct cr_field *field);
unsigned cr_field_digits(const struct cr_field *field);

// words [K] of round(x/t), with a t of each part, [parts], by the bounds [parts] of the matrix and direction
// that they will be multiplied with. x is a row of F32 or BF16, each number times scale[its place] in fp32
// first (NULL: as it is): the rows' scales of Q, backward. In the calling thread; false where x is not
// finite: words and t are then undefined.
bool cr_field_encode_row(const struct cr_field *field, const struct cr_bound *bounds, size_t parts,
                         const void *x, enum cr_dtype dtype, const float *scale, uint32_t *words, double *t);

// y = Σ centre(words[part])·t[part]·scale[place] (NULL: 1) over the parts of a row, words [parts, count], F32
// or BF16: each within 2⁻²² of itself in fp32, added up there, then rounded to y's type. In the calling
// thread.
void cr_field_decode_row(const struct cr_field *field, const uint32_t *words, const double *t, size_t parts,
                         const float *scale, size_t count, void *y, enum cr_dtype dtype);

// y = x Qᵀ (x [rows, q.columns], y [rows, parts, q.rows]) or, backward, x Q (x [rows, q.rows], y [rows,
// parts, q.columns]), mod p: of each part of the depth (cr_bound_begin) by itself, 1 part for whole sums. q
// is I8, without its scales. y must not overlap x.
void cr_field_multiply(struct cr_field *field, const uint32_t *x, size_t rows, struct cr_matrix q,
                       bool backward, size_t parts, uint32_t *y);

// Rows that lie in a circle: row i at words + (turn + i) % around rows.
struct cr_field_circle {
    const uint32_t *words;
    size_t turn, around;
};

// The same less some words, mod p: y − the rows of `less`, of y's form (NULL: nothing). A word of `less` that
// is not below p makes one of y that means nothing.
void cr_field_multiply_less(struct cr_field *field, const uint32_t *x, size_t rows, struct cr_matrix q,
                            bool backward, size_t parts, const struct cr_field_circle *less, uint32_t *y);

#endif
