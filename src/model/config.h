// A model's shape, read from a Hugging Face config.json.
#ifndef CARREL_MODEL_CONFIG_H
#define CARREL_MODEL_CONFIG_H

#include "base/bytes.h"

struct cr_model_config {
    size_t layers;       // num_hidden_layers
    size_t hidden;       // hidden_size, d
    size_t heads;        // num_attention_heads
    size_t kv_heads;     // num_key_value_heads; divides heads
    size_t head_dim;     // d / heads unless the file says otherwise
    size_t intermediate; // intermediate_size, F
    size_t vocabulary;   // vocab_size, V
    size_t context;      // max_position_embeddings
    bool tied_head;      // tie_word_embeddings: the output matrix is the embedding
    bool qkv_bias;       // qwen2: q_proj, k_proj and v_proj add a bias
    bool head_norms;     // qwen3: every head of q and k goes through an RMS norm before its rotation
    float norm_epsilon;  // rms_norm_eps
    double rope_theta;
    // Llama 3's scaling of rotary frequencies; factor 1 where the file has none.
    double rope_factor, rope_low_frequency, rope_high_frequency;
    size_t rope_original_context;
};

// Reads directory/config.json. A family, activation, or kind of rotary scaling that carrel does not compute
// exactly is CR_UNSUPPORTED by name; a missing or impossible number is CR_INVALID.
enum cr_status cr_model_config_read(const char *directory, struct cr_model_config *out);

// The same from the file's text; `name` begins error messages.
enum cr_status cr_model_config_parse(struct cr_slice text, const char *name, struct cr_model_config *out);

#endif
