// Prefix tuning, also called P-tuning v2 (Li and Liang 2021, arXiv 2101.00190; Liu et al. 2022, arXiv
// 2110.07602): every layer's attention sees num_virtual_tokens trained keys and values before those of the
// text. As PEFT has it: keys as attention takes them, in the number of key heads that the model has, and the
// text's positions follow the virtual tokens'.
//
// What acts is one matrix, `prompt_embeddings` [num_virtual_tokens, layers·2·kv_heads·head_dim]: of each
// layer its keys, then its values. It is trained itself, or with prefix_projection it is what an embedding E
// [num_virtual_tokens, kv_heads·head_dim] becomes: tanh(E·W0ᵀ + b0)·W2ᵀ + b2. What is saved is the matrix.
#ifndef CARREL_TUNING_PREFIX_H
#define CARREL_TUNING_PREFIX_H

#include "tuning/config.h"
#include "tuning/structure.h"

// Columns of the embedding, kv_heads·head_dim: PEFT's token_dim. And encoder_hidden_size, where it is not
// given the same.
size_t cr_prefix_token_dim(const struct cr_model_config *model);
size_t cr_prefix_hidden(const struct cr_prefix_config *config, const struct cr_model_config *model);

// Adds what is trained, named and shaped but without memory: with prefix_projection five tensors, otherwise
// `prompt_embeddings`. CR_INVALID where the virtual tokens leave no room in the model's context.
enum cr_status cr_prefix_parameters(const struct cr_prefix_config *config,
                                    const struct cr_model_config *model, struct cr_parameters *parameters);

// The structure for a model that outlives it. Without `training` it holds `prompt_embeddings` whatever
// prefix_projection says. All values are zero: call cr_prefix_initialise, or fill them and refresh.
enum cr_status cr_prefix_new(const struct cr_prefix_config *config, struct cr_model *model, bool training,
                             struct cr_structure **out);

// As PEFT starts: embeddings standard normal, linears uniform in ±1/sqrt(in); a stream of its own each.
enum cr_status cr_prefix_initialise(struct cr_structure *structure, uint64_t seed);

#endif
