// AdamW and SGD over the vector of trainable parameters, and clipping of its gradient.
#ifndef CARREL_TUNING_OPTIMIZER_H
#define CARREL_TUNING_OPTIMIZER_H

#include "tensor/compute.h"
#include "tuning/config.h"
#include "tuning/parameters.h"

// AdamW keeps two moments, SGD with momentum one buffer (in `moments[0]`), SGD without momentum none.
struct cr_optimizer_state {
    uint64_t steps; // updates since the start or the last reset: AdamW's bias correction
    size_t moment_count;
    float *moments[2]; // [count] each; secret
    size_t count;
};

// Makes zeroed moments for `count` parameters.
enum cr_status cr_optimizer_init(struct cr_optimizer_state *state, const struct cr_training_config *training,
                                 size_t count);
void cr_optimizer_reset(struct cr_optimizer_state *state);
void cr_optimizer_release(struct cr_optimizer_state *state); // wipes

// One update of all values with their gradients, as PyTorch's AdamW and SGD. Weight decay applies to every
// parameter except biases and norm weights (cr_parameter_decays), as in Transformers' Trainer.
void cr_optimizer_update(struct cr_optimizer_state *state, struct cr_compute *compute,
                         const struct cr_training_config *training, double learning_rate,
                         struct cr_parameters *parameters);
bool cr_parameter_decays(const char *name);

// Scales the gradient so that its norm is at most `most` (0: leaves it unchanged), as
// torch.nn.utils.clip_grad_norm_: by most / (norm + 1e-6) if that is below 1. Returns the norm before
// scaling; if a gradient is NaN or infinite, so is the norm, and nothing is scaled.
double cr_gradient_clip(struct cr_compute *compute, struct cr_parameters *parameters, double most);

#endif
