// Symmetric int8 with one scale for each row: W[o,i] ≈ scale[o]·Q[o,i], Q from −127 to 127.
//
// A row's scale is its largest magnitude / 127, and Q the integer nearest to W/scale, ties to even, all in
// fp32: every operation is rounded as IEEE 754 says, so the same checkpoint gives the same Q on every
// machine.
#ifndef CARREL_FIELD_QUANTIZE_H
#define CARREL_FIELD_QUANTIZE_H

#include "tensor/compute.h"

#include <stdint.h>

// Computes q [rows,columns] and scale [rows] from w [rows,columns] F32. A row of zeros gets scale 1. NaN or
// infinity returns CR_INVALID, with the index of its row in *bad_row (may be NULL); q and scale are then
// undefined.
enum cr_status cr_quantize_rows(struct cr_compute *compute, const float *w, size_t rows, size_t columns,
                                int8_t *q, float *scale, size_t *bad_row);

// Continues a checksum over the shape and the values of q (I8), row by row: against mistakes, not against an
// adversary. Start with `sum` 0.
uint64_t cr_quantized_checksum(uint64_t sum, struct cr_matrix q);

#endif
