// How finely a row of numbers may be rounded so that its product with a matrix of int8, computed modulo p,
// never wraps. docs/NUMERICS.md has the proofs.
#ifndef CARREL_FIELD_BOUND_H
#define CARREL_FIELD_BOUND_H

#include "tensor/compute.h"

// What a matrix Q, one direction and a number of digits allow: for every row x of `depth` finite numbers and
// t = cr_bound_scale of it, |Σ round(x_i/t)·Q_i| <= (p−1)/2 whatever column of the product it is.
struct cr_bound {
    size_t depth; // K: the columns of Q forward, its rows backward
    double norm; // N: the largest of ‖Q[o,:]‖₂ over rows, or of ‖Q[:,i]‖₂ over columns; at least 1
    double most;      // the largest magnitude in Q, at least 1
    double room_norm; // ‖x‖₂/t may be this much (Cauchy-Schwarz); below 1: that bound gives nothing
    double room_sum;  // ‖x‖₁/t may be this much
};

// Of q (I8). CR_UNSUPPORTED where sums are so long that neither bound leaves room.
enum cr_status cr_bound_new(const struct cr_matrix *q, bool backward, unsigned digits, struct cr_bound *out);

// t of a row with these sums of magnitudes and of squares; 1 of a row of zeros.
double cr_bound_scale(const struct cr_bound *bound, double sum, double squares);

#endif
