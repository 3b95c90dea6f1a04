// Full-parameter tuning: every tensor of a writable model is trained, from its checkpoint or from random
// values.
//
// Parameters are those of the model, in its order, under Transformers' names. Their fp32 values are the
// masters; the model's own weights (the activation type) are rounded from them at each refresh.
#ifndef CARREL_TUNING_FULL_H
#define CARREL_TUNING_FULL_H

#include "tuning/structure.h"

// For a writable model (CR_MODEL_TRAINABLE, cr_model_create) that outlives it; values are zero until one
// of the two below.
enum cr_status cr_full_new(struct cr_model *model, struct cr_structure **out);

// The checkpoint's values, unrounded.
enum cr_status cr_full_load(struct cr_structure *structure);

// Every matrix from a normal distribution of this standard deviation (a stream of its own each), norms one,
// as Transformers starts; of gpt2, what each layer's two residual paths end in is divided by √(2 · layers).
enum cr_status cr_full_initialise(struct cr_structure *structure, uint64_t seed, double deviation);

#endif
