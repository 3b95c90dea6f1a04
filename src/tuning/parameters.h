// The trainable parameters of a run: named tensors in one vector of fp32 values.
//
// Code that moves parameters (federation, checkpoints, optimisers) sees the vector; code that uses them
// (LoRA, full fine-tuning) sees the tensors. Order and shapes follow from model and configuration alone, so
// the vectors of all silos have the same layout.
#ifndef CARREL_TUNING_PARAMETERS_H
#define CARREL_TUNING_PARAMETERS_H

#include "base/memory.h"

#include <stdbool.h>

struct cr_parameter {
    char *name;  // as PEFT or Transformers name it
    size_t rank; // 1 or 2
    size_t shape[2];
    size_t offset; // in values and gradients
    size_t count;
};

// Zero-initialise it; release it with cr_parameters_release.
struct cr_parameters {
    struct cr_parameter *items;
    size_t item_count;
    float *values;    // [count]; secret
    float *gradients; // [count]; secret; NULL without training
    size_t count;
};

// Adds a tensor; only before the commit. columns 0: a vector.
enum cr_status cr_parameters_add(struct cr_parameters *parameters, const char *name, size_t rows,
                                 size_t columns);

// Allocates values and, for training, gradients; zeroed.
enum cr_status cr_parameters_commit(struct cr_parameters *parameters, bool training);
void cr_parameters_release(struct cr_parameters *parameters); // wipes
void cr_parameters_zero_gradients(struct cr_parameters *parameters);

// The item of that name, or NULL.
const struct cr_parameter *cr_parameters_find(const struct cr_parameters *parameters, const char *name);

#endif
