// How a model's tensors are named, checked against a checkpoint, and put into memory. Private to model/.
#ifndef CARREL_MODEL_WEIGHTS_H
#define CARREL_MODEL_WEIGHTS_H

#include "model/model.h"

// Makes model->parameters from model->config: names and shapes, without memory.
enum cr_status cr_weights_list(struct cr_model *model);

// Checks that every parameter is in model->weights with its shape, and that nothing else is there.
enum cr_status cr_weights_check(const struct cr_model *model);

// Sets up the linears without weights: with their shapes, and model->memory counting what the weights would
// take.
void cr_weights_measure(struct cr_model *model);

// Gives every parameter its memory, mapped or private, fills it from model->weights if there are any, and
// sets up the linears. The tensors of a fused linear are contiguous.
enum cr_status cr_weights_place(struct cr_model *model);

// Fills `to`, I8 with scales and the parameter's shape, from its tensor in model->weights.
enum cr_status cr_weights_quantize(struct cr_compute *compute, const struct cr_model *model,
                                   const struct cr_model_parameter *parameter, struct cr_matrix to);

// The parameter of this kind, which the model must have; layer and module are used if the kind needs them.
struct cr_model_parameter *cr_weights_parameter(const struct cr_model *model, enum cr_parameter_kind kind,
                                                size_t layer, enum cr_module module);
struct cr_model_parameter *cr_head_parameter(const struct cr_model *model); // the embedding if it is tied

#endif
