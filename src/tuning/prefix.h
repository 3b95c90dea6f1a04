// Prefix tuning, also called P-tuning v2 (Li and Liang 2021, arXiv 2101.00190; Liu et al. 2022, arXiv
// 2110.07602): in every layer, attention sees num_virtual_tokens trained keys and values before those of the
// text. As in PEFT, keys are used as attention takes them, in the model's number of key heads, and the text's
// positions follow the virtual tokens'.
//
// Attention uses one matrix, `prompt_embeddings` [num_virtual_tokens, layers·2·kv_heads·head_dim]: for each
// layer its keys, then its values. It is trained directly, or, with prefix_projection, computed from an
// embedding E [num_virtual_tokens, kv_heads·head_dim]: tanh(E·W0ᵀ + b0)·W2ᵀ + b2. In both cases this matrix
// is what is saved.
#ifndef CARREL_TUNING_PREFIX_H
#define CARREL_TUNING_PREFIX_H

#include "tuning/config.h"
#include "tuning/structure.h"

// Columns of the embedding, kv_heads·head_dim: PEFT's token_dim. And encoder_hidden_size, which defaults to
// the same.
size_t cr_prefix_token_dim(const struct cr_model_config *model);
size_t cr_prefix_hidden(const struct cr_prefix_config *config, const struct cr_model_config *model);

// Adds what is trained, with names and shapes but without memory: five tensors with prefix_projection,
// otherwise `prompt_embeddings`. CR_INVALID if the virtual tokens leave no room in the model's context.
enum cr_status cr_prefix_parameters(const struct cr_prefix_config *config,
                                    const struct cr_model_config *model, struct cr_parameters *parameters);

// The structure for a model, which must outlive it. Without `training` it holds `prompt_embeddings`, whatever
// prefix_projection says. All values are zero: call cr_prefix_initialise, or fill them and refresh.
enum cr_status cr_prefix_new(const struct cr_prefix_config *config, struct cr_model *model, bool training,
                             struct cr_structure **out);

// As in PEFT: embeddings standard normal, linears uniform in ±1/sqrt(in); each from a random stream of its
// own.
enum cr_status cr_prefix_initialise(struct cr_structure *structure, uint64_t seed);

#endif
