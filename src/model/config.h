// A model's shape, read from a Hugging Face config.json.
#ifndef CARREL_MODEL_CONFIG_H
#define CARREL_MODEL_CONFIG_H

#include "base/bytes.h"
#include "model/rope.h"

// How a family names its tensors and lays them out.
enum cr_layout {
    CR_LAYOUT_LLAMA, // model.layers.N.self_attn.q_proj.weight [out,in]; also mistral's and qwen's
    CR_LAYOUT_GPT2,  // transformer.h.N.attn.c_attn.weight [in,out]: q, k and v are one module
};

enum { CR_MOST_LAYERS = 1024, CR_MOST_CONTEXT = 1 << 24 };

struct cr_model_config {
    enum cr_layout layout;
    size_t layers;       // num_hidden_layers
    size_t hidden;       // hidden_size, d
    size_t heads;        // num_attention_heads
    size_t kv_heads;     // num_key_value_heads; divides heads
    size_t head_dim;     // d / heads unless the file says otherwise
    size_t intermediate; // intermediate_size, F
    size_t vocabulary;   // vocab_size, V
    size_t context;      // max_position_embeddings
    bool tied_head;      // tie_word_embeddings: the output matrix is the embedding
    // Which linears add a bias: of qwen2 the first, of llama and qwen3 by attention_bias the first two, of
    // llama by mlp_bias the third, of gpt2 all.
    bool qkv_bias, o_bias, mlp_bias;
    bool head_norms; // qwen3: every head of q and k goes through an RMS norm before its rotation
    // gpt2, these three always:
    bool layer_norm;        // norms subtract the mean and add a bias, instead of RMS norms
    bool gelu;              // the MLP is down(gelu(up(x))) instead of SwiGLU
    bool learned_positions; // a table of positions is added to the embedding, instead of rotation
    bool gelu_erf;          // gelu by the normal distribution, not with tanh
    bool unscaled_scores;   // attention's scores are not divided by the root of head_dim
    bool scores_by_layer;   // they are divided by the layer's number, from 1 on
    float norm_epsilon;     // rms_norm_eps, layer_norm_epsilon
    // sliding_window: how many positions a token attends to, including its own; 0: all earlier ones. It
    // applies to the layers whose bit is set in `windowed`, see cr_layer_window.
    size_t window;
    uint64_t windowed[CR_MOST_LAYERS / 64];
    struct cr_rope rope; // unless positions are learned
};

// The window of a layer; 0 if it has none.
size_t cr_layer_window(const struct cr_model_config *config, size_t layer);

// What the scores of a layer's attention are multiplied by.
double cr_layer_score_scale(const struct cr_model_config *config, size_t layer);

// Reads directory/config.json. A family, activation or kind of rotary scaling that carrel does not compute
// exactly, or an adapter in the same directory, returns CR_UNSUPPORTED with a message that names it; a
// missing or impossible number returns CR_INVALID.
enum cr_status cr_model_config_read(const char *directory, struct cr_model_config *out);

// The same for the text of the file; error messages begin with `name`.
enum cr_status cr_model_config_parse(struct cr_slice text, const char *name, struct cr_model_config *out);

#endif
