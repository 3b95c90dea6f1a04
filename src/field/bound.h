// How finely a row of numbers may be rounded so that its product with a matrix of int8, computed modulo p,
// never wraps. docs/NUMERICS.md has the proofs.
//
// The error that rounding makes grows with the depth of a sum, so deep sums are cut into parts. Each part has
// its own bound, and so its own rounding; the parts' results are added up outside the field.
#ifndef CARREL_FIELD_BOUND_H
#define CARREL_FIELD_BOUND_H

#include "tensor/compute.h"

// The most terms of a part. Forward, an error passes through attention, which may amplify it; backward, it
// only changes the gradient.
enum { CR_DEEPEST_FORWARD = 3072, CR_DEEPEST_BACKWARD = 8192 };

// How many parts a sum of `depth` terms has: as few as possible, at least 1.
size_t cr_bound_parts(size_t depth, bool backward);

// The first term of a part when `depth` terms are cut into so many parts of near-equal depth; depth itself
// where part == parts.
size_t cr_bound_begin(size_t depth, size_t parts, size_t part);

// The part of q (I8) that belongs to one part of the sums: some columns forward, some rows backward. A view.
struct cr_matrix cr_bound_part(struct cr_matrix q, bool backward, size_t parts, size_t part);

// Limits for rounding with a part of a matrix Q, one direction and one number of digits: for every row x of
// `depth` finite numbers and t = cr_bound_scale of it, |Σ round(x_i/t)·Q_i| <= (p−1)/2 in every column of the
// product.
struct cr_bound {
    // K: columns of Q forward, rows backward
    size_t depth;
    // N: the largest of ‖Q[o,:]‖₂ over rows, or of ‖Q[:,i]‖₂ over columns; at least 1
    double norm;
    double room_norm; // t is large enough if ‖x‖₂/t is at most this (Cauchy-Schwarz),
    double room_sum;  // or if ‖x‖₁/t is at most this
};

// Computes the bounds of all parts of q (I8): bounds [cr_bound_parts].
enum cr_status cr_bound_new(const struct cr_matrix *q, bool backward, unsigned digits,
                            struct cr_bound *bounds);

// t for a row whose magnitudes and squares have these sums; 1 for a row of zeros.
double cr_bound_scale(const struct cr_bound *bound, double sum, double squares);

#endif
