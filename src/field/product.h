// Products modulo p with a frozen matrix of int8, and the way between rows of numbers and words of the field.
//
// A masked product goes: cr_field_encode, a pad added (not here), cr_field_multiply by whoever computes, the
// pad's product taken away, cr_field_decode. Every instruction set and number of threads gives the same bits.
// Words are [rows, columns] without gaps, in [0, p) (prime.h).
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

// words [x.rows, x.columns] of round(x/t), t [x.rows] by the bound of the matrix and direction that they will
// be multiplied with. x is F32 or BF16, each column times scale[column] in fp32 first (NULL: as it is): the
// rows' scales of Q, backward. A row that is not finite is CR_INVALID; *bad_row (may be NULL) names it, and
// words and t are then undefined.
enum cr_status cr_field_encode(struct cr_field *field, const struct cr_bound *bound, struct cr_matrix x,
                               const float *scale, uint32_t *words, double *t, size_t *bad_row);

// The same of one row, in the calling thread; false where it is not finite.
bool cr_field_encode_row(const struct cr_field *field, const struct cr_bound *bound, const void *x,
                         enum cr_dtype dtype, const float *scale, uint32_t *words, double *t);

// y = centre(words)·t·scale[column] (NULL: 1), F32 or BF16, rounded from double to fp32 and then to y's type.
void cr_field_decode(struct cr_field *field, const uint32_t *words, const double *t, const float *scale,
                     struct cr_matrix y);

// The same of one row of `count`, in the calling thread.
void cr_field_decode_row(const struct cr_field *field, const uint32_t *words, double t, const float *scale,
                         size_t count, void *y, enum cr_dtype dtype);

// y = x Qᵀ (x [rows, q.columns], y [rows, q.rows]) or, backward, x Q (x [rows, q.rows], y [rows, q.columns]),
// mod p; q is I8, without its scales. y must not overlap x.
void cr_field_multiply(struct cr_field *field, const uint32_t *x, size_t rows, struct cr_matrix q,
                       bool backward, uint32_t *y);

#endif
