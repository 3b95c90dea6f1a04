// The frozen base in int8: all of it, for an accelerator to multiply with, or one matrix at a time, which is
// all that a trusted process holds. Both are made from the same checkpoint and get the same values
// (field/quantize.h).
#ifndef CARREL_MODEL_FROZEN_H
#define CARREL_MODEL_FROZEN_H

#include "model/model.h"

struct cr_frozen {
    // qkv, o, gate_up and down of each layer, then the head: [count] I8 [out,in] with scales.
    struct cr_matrix *matrices;
    size_t count;
    uint64_t checksum; // of all values of q and shapes (cr_quantized_checksum), not of the scales
};

// `model` was opened as CR_MODEL_IN_8BIT and must outlive *out. Release with cr_frozen_release.
enum cr_status cr_frozen_open(struct cr_model *model, struct cr_frozen *out);
void cr_frozen_release(struct cr_frozen *frozen); // zeros are allowed

enum { CR_FROZEN_PER_LAYER = 4 };

// Linears are numbered in the same order. cr_frozen_linear returns linear `i`, and cr_frozen_name writes its
// name for messages ("qkv of layer 3"), for a model with `count` linears.
size_t cr_frozen_count(const struct cr_model *model);
struct cr_linear *cr_frozen_linear(struct cr_model *model, size_t i);
enum { CR_FROZEN_NAME_SIZE = 48 };
void cr_frozen_name(size_t count, size_t i, char out[CR_FROZEN_NAME_SIZE]);
bool cr_frozen_held(const struct cr_model *model, size_t i); // whether the model's part includes linear i

// Lists the weights that make up linear `i`, in the order of its rows; returns how many.
enum { CR_FROZEN_MOST_PARTS = 3 };
size_t cr_frozen_parts(const struct cr_model *model, size_t i,
                       const struct cr_model_parameter *out[CR_FROZEN_MOST_PARTS]);

// The largest sizes among a layer's linears: *longest is the most numbers in a row of a forward product's
// input, or of its output (which has a number for each part of the sums, field/bound.h); *numbers is the most
// numbers in a matrix.
void cr_frozen_layer_size(struct cr_model *model, size_t *longest, size_t *numbers);

// Quantises linear `i` from the checkpoint: `to` is I8 [out,in] without gaps, with scales. A tensor that has
// changed since the model was opened gives other values, not an error.
enum cr_status cr_frozen_read(struct cr_compute *compute, const struct cr_model *model, size_t i,
                              struct cr_matrix to);

// Reads rows of the checkpoint's embedding (CR_PARAMETER_EMBEDDING) or learned positions
// (CR_PARAMETER_POSITION), which the model must have: row[i] becomes row i of `to`, [count, d] without gaps.
enum cr_status cr_frozen_rows(struct cr_compute *compute, const struct cr_model *model,
                              enum cr_parameter_kind kind, const uint32_t *row, size_t count, float *to);

#endif
