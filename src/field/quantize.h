// Symmetric int8 with one scale for each row: W[o,i] ≈ scale[o]·Q[o,i], Q from −127 to 127.
//
// A row's scale is its largest magnitude / 127, and Q the nearest whole number to W/scale, ties to even, all
// in fp32: every operation is rounded as IEEE 754 says, so the same checkpoint gives the same Q on every
// machine.
#ifndef CARREL_FIELD_QUANTIZE_H
#define CARREL_FIELD_QUANTIZE_H

#include "tensor/compute.h"

#include <stdint.h>

// q [rows,columns] and scale [rows] of w [rows,columns] F32. A row of zeros has scale 1. A value that is NaN
// or infinite is CR_INVALID; *bad_row (may be NULL) then names its row. On failure q and scale are undefined.
enum cr_status cr_quantize_rows(struct cr_compute *compute, const float *w, size_t rows, size_t columns,
                                int8_t *q, float *scale, size_t *bad_row);

// Goes on with a checksum over the shape and the numbers of q (I8), row by row: against mistakes, not against
// an adversary. Begin with `sum` 0.
uint64_t cr_quantized_checksum(uint64_t sum, struct cr_matrix q);

#endif
