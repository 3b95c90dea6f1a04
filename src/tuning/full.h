// Full-parameter tuning: every tensor of a writable model is trained, from its checkpoint or from random
// values.
//
// Parameters are those of the model, in its order, under Transformers' names. Their fp32 values are the
// master weights; the model's own weights (in the activation type) are rounded from them at each refresh.
#ifndef CARREL_TUNING_FULL_H
#define CARREL_TUNING_FULL_H

#include "tuning/structure.h"

// For a writable model (CR_MODEL_TRAINABLE, cr_model_create), which must outlive the structure. Values are
// zero until one of the two functions below sets them.
enum cr_status cr_full_new(struct cr_model *model, struct cr_structure **out);

// Sets the checkpoint's values, unrounded.
enum cr_status cr_full_load(struct cr_structure *structure);

// Sets values as Transformers does: matrices from a normal distribution of this standard deviation (each from
// a random stream of its own), norm weights one, biases zero; in gpt2 the deviation of the last matrix of
// each layer's two residual branches is divided by √(2 · layers).
enum cr_status cr_full_initialise(struct cr_structure *structure, uint64_t seed, double deviation);

#endif
