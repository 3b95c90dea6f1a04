// How much memory a training will take, told before it, and how much there is.
#ifndef CARREL_CLI_MEMORY_H
#define CARREL_CLI_MEMORY_H

#include "model/model.h"
#include "tuning/config.h"

// Bytes.
struct cr_memory {
    double weights; // of the model; with slicing of what no accelerator has, and what stands for the rest
    double pass;    // of a step forward and back, in all its lanes
    double trained; // trained values, their gradients and their moments; or what it takes to choose them
    double data;    // tokens and labels of all examples; not known to cr_memory_of
    double pads;    // with slicing: products of pads, outside of the trusted process but in this machine
};

// Bytes that may be taken without another program losing its own (Linux' own estimate), no more than control
// groups leave this process (base/cgroup.h); 0: unknown.
double cr_memory_free(void);

// Whether it is control groups that leave no more.
bool cr_memory_is_limited(void);

// What the method trains.
struct cr_memory_trained {
    double values;   // numbers
    double beside;   // bytes beside them: of sparse fine-tuning, and of LoRA's values as products read them
    double each_row; // bytes of LoRA for each row of a step
    double choosing; // bytes that choosing its places takes
};

// Places that the model has not are CR_INVALID.
enum cr_status cr_memory_trained(const struct cr_tuning_config *config, const struct cr_model *model,
                                 struct cr_memory_trained *out);

// For micro-batches of `batch` examples of at most `longest` tokens, counted as the trainer counts them
// itself, walks that begin at layer `first`. The model may be a shape alone.
struct cr_memory cr_memory_of(const struct cr_tuning_config *config, struct cr_model *model, size_t batch,
                              size_t longest, size_t first, const struct cr_memory_trained *trained);

double cr_memory_sum(const struct cr_memory *memory);

#endif
