// How finely a row of numbers may be rounded so that its product with a matrix of int8, computed modulo p,
// never wraps. docs/NUMERICS.md has the proofs.
//
// The error that rounding makes grows with the depth of a sum, so deep sums are cut into parts. Each part has
// a bound, and so a rounding, of its own; what they come to is added up outside of the field.
#ifndef CARREL_FIELD_BOUND_H
#define CARREL_FIELD_BOUND_H

#include "tensor/compute.h"

// Terms of a part, at most. An error of the way forward goes through attention, which may make more of it;
// one of the way back is that of the gradient.
enum { CR_DEEPEST_FORWARD = 3072, CR_DEEPEST_BACKWARD = 8192 };

// Parts of a sum of `depth` terms: as few as there can be, at least 1.
size_t cr_bound_parts(size_t depth, bool backward);

// The first term of a part when `depth` terms are cut into so many parts of near-equal depth; depth itself
// where part == parts.
size_t cr_bound_begin(size_t depth, size_t parts, size_t part);

// What of q (I8) a part is multiplied with: some columns forward, some rows backward.
struct cr_matrix cr_bound_part(struct cr_matrix q, bool backward, size_t parts, size_t part);

// What a part of a matrix Q, one direction and a number of digits allow: for every row x of `depth` finite
// numbers and t = cr_bound_scale of it, |Σ round(x_i/t)·Q_i| <= (p−1)/2 whatever column of the product it is.
struct cr_bound {
    // K: of the columns of Q forward, of its rows backward
    size_t depth;
    // N: the largest of ‖Q[o,:]‖₂ over rows, or of ‖Q[:,i]‖₂ over columns; at least 1
    double norm;
    double room_norm; // ‖x‖₂/t may be this much (Cauchy-Schwarz)
    double room_sum;  // ‖x‖₁/t may be this much
};

// Of all parts of q (I8): bounds [cr_bound_parts].
enum cr_status cr_bound_new(const struct cr_matrix *q, bool backward, unsigned digits,
                            struct cr_bound *bounds);

// t of a row with these sums of magnitudes and of squares; 1 of a row of zeros.
double cr_bound_scale(const struct cr_bound *bound, double sum, double squares);

#endif
