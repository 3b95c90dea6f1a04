// Estimates how much memory a training will need, and how much there is.
#ifndef CARREL_CLI_MEMORY_H
#define CARREL_CLI_MEMORY_H

#include "model/model.h"
#include "tuning/config.h"

// Bytes.
struct cr_memory {
    double weights; // the model's; with slicing, the part that no accelerator has, and what replaces the rest
    double pass;    // forward and backward pass of a step, in all lanes
    double trained; // trained values, gradients and moments, or what choosing them needs, if more
    double data;    // tokens and labels of all examples; not set by cr_memory_of
    double pads;    // with slicing: products of pads, outside the trusted process but on this machine
};

// Bytes that can be allocated without taking memory from other programs (Linux's own estimate), at most what
// control groups allow this process (base/cgroup.h); 0: unknown.
double cr_memory_free(void);

// Whether control groups are what limits cr_memory_free.
bool cr_memory_is_limited(void);

// The size of what the method trains.
struct cr_memory_trained {
    double values;   // numbers
    double beside;   // further bytes: of sparse fine-tuning, and copies of LoRA's values for products
    double each_row; // bytes of LoRA for each row of a step
    double choosing; // bytes needed to choose places
};

// CR_INVALID if the settings name modules or layers that the model does not have.
enum cr_status cr_memory_trained(const struct cr_tuning_config *config, const struct cr_model *model,
                                 struct cr_memory_trained *out);

// For micro-batches of `batch` examples of at most `longest` tokens, computed as in the trainer, for passes
// that begin at layer `first`. `model` may be without weights.
struct cr_memory cr_memory_of(const struct cr_tuning_config *config, struct cr_model *model, size_t batch,
                              size_t longest, size_t first, const struct cr_memory_trained *trained);

double cr_memory_sum(const struct cr_memory *memory);

#endif
