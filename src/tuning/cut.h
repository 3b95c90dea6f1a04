// Where a split model is cut: the encoding of the front's output for a row, the residual stream before the
// tail's first layer, for sending it from one machine to another.
//
// A row of width d is encoded (enum cr_split_activations) as d float32, as d bfloat16, or in int8: each group
// of 64 channels (the last may have fewer) has 8-bit integers q and one bfloat16 scale s; all q of the row
// come first, then all s. Before that the row is rotated, in blocks as wide as the largest power of two that
// divides d, by the orthonormal Hadamard matrix of that size: the error of a channel many times larger than
// the others is then spread over its block, instead of costing its group all digits (docs/NUMERICS.md).
// Numbers are little-endian.
#ifndef CARREL_TUNING_CUT_H
#define CARREL_TUNING_CUT_H

#include "crypto/hash.h"
#include "tensor/compute.h"
#include "text/dataset.h"

enum { CR_CUT_GROUP = 64 }; // channels that share a scale

// No activation may be larger. Those of models are below 2^20. For up to 2^16 numbers of this size the sum of
// squares, and the cube of the root of their mean, both used by norms and their gradients, are finite in
// float32.
#define CR_CUT_LARGEST 0x1p40f

// Bytes of an encoded row.
size_t cr_cut_row_size(int activations, size_t hidden);

// Convert between rows of a stream (F32, any stride) and their bytes. Values that are NaN or larger than
// CR_CUT_LARGEST, before or after, return CR_INVALID; `stream` may then hold some of the values.
enum cr_status cr_cut_encode(struct cr_compute *compute, int activations, struct cr_matrix stream,
                             unsigned char *bytes);
enum cr_status cr_cut_decode(struct cr_compute *compute, int activations, const unsigned char *bytes,
                             struct cr_matrix stream);

// What a tail trains on: examples whose layers below `layer` were computed elsewhere.
struct cr_cut {
    size_t layer;
    // Filled in by `open`: labels and lengths, which the trainer borrows, and the hash of all examples,
    // including their activations.
    struct cr_dataset *data;
    unsigned char digest[CR_SHA256_SIZE];
    enum cr_status (*open)(struct cr_cut *self); // called once, by the trainer
    // Loads the stream of example `number` of `data` before `layer`: F32, a row for each of its tokens.
    enum cr_status (*load)(struct cr_cut *self, size_t number, struct cr_matrix stream);
};

#endif
