// Where a split model is cut: what its front makes of a row, the residual stream before the tail's first
// layer, on its way from one machine to another.
//
// A row of width d is coded (enum cr_split_activations) as d float32, as d bfloat16, or in int8: for each 64
// channels (the last ones may be fewer) whole numbers q of 8 bits and one bfloat16 scale s, all q of the row
// first, then all s. Before that a row is rotated, in blocks as wide as the largest power of two that divides
// d, by the orthonormal Hadamard matrix of that size: a channel many times the others' size then shares its
// error among all of its block instead of leaving its group without digits (docs/NUMERICS.md). Numbers are
// little-endian.
#ifndef CARREL_TUNING_CUT_H
#define CARREL_TUNING_CUT_H

#include "crypto/hash.h"
#include "tensor/compute.h"
#include "text/dataset.h"

enum { CR_CUT_GROUP = 64 }; // channels that share a scale

// No activation is larger: what models make is below 2^20, and of up to 2^16 such numbers the sum of squares,
// and the cube of the root of their mean, which norms and their gradients have, are finite in float32.
#define CR_CUT_LARGEST 0x1p40f

// Bytes of a row.
size_t cr_cut_row_size(int activations, size_t hidden);

// Between rows of a stream (F32, any stride) and their bytes. Values that are NaN, or larger than
// CR_CUT_LARGEST, before or after, are CR_INVALID; `stream` may then hold some of them.
enum cr_status cr_cut_encode(struct cr_compute *compute, int activations, struct cr_matrix stream,
                             unsigned char *bytes);
enum cr_status cr_cut_decode(struct cr_compute *compute, int activations, const unsigned char *bytes,
                             struct cr_matrix stream);

// What a tail trains on: examples that walked through the layers below `layer` elsewhere.
struct cr_cut {
    size_t layer;
    // What opening finds: labels and lengths, which whoever trains borrows, and the hash of all examples,
    // activations among them.
    struct cr_dataset *data;
    unsigned char digest[CR_SHA256_SIZE];
    enum cr_status (*open)(struct cr_cut *self); // once, by the trainer
    // The stream of example `number` of `data`, before `layer`: F32, a row for each of its places.
    enum cr_status (*load)(struct cr_cut *self, size_t number, struct cr_matrix stream);
};

#endif
