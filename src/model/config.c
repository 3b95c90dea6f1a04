#include "model/config.h"

#include "base/file.h"
#include "format/json.h"

#include <math.h>
#include <string.h>

// Bounds far above any published model. They keep the product of any two of these within 64 bits, and a
// hostile file from requesting absurd memory before a tensor is read.
enum {
    MOST_HIDDEN = 1 << 17,
    MOST_HEADS = 1024,
    MOST_HEAD_DIM = 1024,
    MOST_INTERMEDIATE = 1 << 20,
    MOST_VOCABULARY = 1 << 22,
    MOST_FILE = 1 << 20,
};

// carrel computes such a model only if the switch is off.
static enum cr_status refuse_switch(const struct cr_json *root, const char *name, const char *key,
                                    const char *family)
{
    bool on;
    CR_TRY(cr_json_get_bool(root, name, key, false, &on));
    if (on) return cr_fail(CR_UNSUPPORTED, "%s: %s: true is not supported for %s", name, key, family);
    return CR_OK;
}

// How a family differs from llama.
struct family {
    const char *name;
    size_t context;      // max_position_embeddings if the file has none
    size_t window;       // sliding_window if the file has no such key
    bool explicit_heads; // Transformers' own default of num_key_value_heads is not num_attention_heads
    bool
        switched_window; // sliding_window counts only where use_sliding_window is true, and not in all layers
    bool qkv_bias;       // always there, and no switches of biases
    bool attention_bias, mlp_bias; // switches that count; others are refused
    bool head_norms;
    bool gpt2;
};
static const struct family families[] = {
    {.name = "llama", .context = 2048, .attention_bias = true, .mlp_bias = true},
    {.name = "mistral", .context = 131072, .window = 4096, .explicit_heads = true},
    {.name = "qwen2",
     .context = 32768,
     .window = 4096,
     .explicit_heads = true,
     .switched_window = true,
     .qkv_bias = true},
    {.name = "qwen3",
     .context = 32768,
     .window = 4096,
     .explicit_heads = true,
     .switched_window = true,
     .attention_bias = true,
     .head_norms = true},
    {.name = "gpt2", .context = 1024, .gpt2 = true},
};

size_t cr_layer_window(const struct cr_model_config *config, size_t layer)
{
    return config->windowed[layer / 64] >> layer % 64 & 1 ? config->window : 0;
}

double cr_layer_score_scale(const struct cr_model_config *config, size_t layer)
{
    double scale = config->unscaled_scores ? 1 : 1 / sqrt((double)config->head_dim);
    return config->scores_by_layer ? scale / (double)(layer + 1) : scale;
}

static void set_windowed(struct cr_model_config *config, size_t layer)
{
    config->windowed[layer / 64] |= (uint64_t)1 << layer % 64;
}

// What kind each layer is, as newer versions of Transformers list it.
static enum cr_status read_layer_types(const struct cr_json *types, const char *name,
                                       struct cr_model_config *out)
{
    if (cr_json_kind(types) != CR_JSON_ARRAY || cr_json_count(types) != out->layers)
        return cr_fail(CR_INVALID, "%s: layer_types is not an array of %zu", name, out->layers);
    for (size_t i = 0; i < out->layers; i++) {
        if (cr_json_is_string(cr_json_at(types, i), "sliding_attention"))
            set_windowed(out, i);
        else if (!cr_json_is_string(cr_json_at(types, i), "full_attention"))
            return cr_fail(CR_UNSUPPORTED,
                           "%s: layer_types: only \"full_attention\" and \"sliding_attention\" are supported",
                           name);
    }
    return CR_OK;
}

// Which layers have a sliding window, as Transformers decides it: those that layer_types lists (llama ignores
// it), else by family (configuration_qwen2.py: those from max_window_layers on if use_sliding_window is true;
// configuration_mistral.py: all).
static enum cr_status read_window(const struct cr_json *root, const char *name, const struct family *family,
                                  struct cr_model_config *out)
{
    bool on = family->window > 0;
    if (family->switched_window) CR_TRY(cr_json_get_bool(root, name, "use_sliding_window", false, &on));
    bool unset = cr_json_member(root, "sliding_window") && !cr_json_given(root, "sliding_window");
    if (on && !unset)
        CR_TRY(
            cr_json_get_size(root, name, "sliding_window", 1, CR_MOST_CONTEXT, family->window, &out->window));
    if (cr_json_given(root, "layer_types") && family->window > 0) {
        CR_TRY(read_layer_types(cr_json_member(root, "layer_types"), name, out));
    } else if (out->window > 0) {
        size_t first = 0;
        if (family->switched_window)
            CR_TRY(cr_json_get_size(root, name, "max_window_layers", 0, CR_MOST_CONTEXT, 28, &first));
        for (size_t i = first; i < out->layers; i++) set_windowed(out, i);
    }
    for (size_t i = 0; i < out->layers; i++)
        if (out->windowed[i / 64] && out->window == 0)
            return cr_fail(CR_INVALID, "%s: layer_types: sliding attention without a sliding_window", name);
    return CR_OK;
}

static enum cr_status fail_activation(const char *name, const char *key, const char *activation,
                                      const char *supported)
{
    return cr_fail(CR_UNSUPPORTED, "%s: %s: \"%s\" is not supported (%s)", name, key, activation, supported);
}

static enum cr_status check_llama(const struct cr_json *root, const char *name)
{
    const char *activation;
    CR_TRY(cr_json_get_string(root, name, "hidden_act", "silu", &activation));
    if (strcmp(activation, "silu") != 0) return fail_activation(name, "hidden_act", activation, "silu is");
    return CR_OK;
}

// What a switch says, where the family has it.
static enum cr_status read_switch(const struct cr_json *root, const char *name, const char *key, bool known,
                                  const struct family *family, bool *out)
{
    if (!known) return refuse_switch(root, name, key, family->name);
    return cr_json_get_bool(root, name, key, false, out);
}

static enum cr_status read_biases(const struct cr_json *root, const char *name, const struct family *family,
                                  struct cr_model_config *out)
{
    out->qkv_bias = family->qkv_bias;
    if (family->qkv_bias) return CR_OK;
    CR_TRY(read_switch(root, name, "attention_bias", family->attention_bias, family, &out->o_bias));
    out->qkv_bias = out->o_bias;
    return read_switch(root, name, "mlp_bias", family->mlp_bias, family, &out->mlp_bias);
}

// Settings that Transformers obeys in every family. It treats an is_causal of null as false.
static enum cr_status check_any(const struct cr_json *root, const char *name)
{
    if (cr_json_given(root, "quantization_config"))
        return cr_fail(CR_UNSUPPORTED, "%s: quantization_config: quantised checkpoints are not supported",
                       name);
    const struct cr_json *causal = cr_json_member(root, "is_causal");
    if (causal && !cr_json_bool(causal, false))
        return cr_fail(CR_UNSUPPORTED, "%s: is_causal: attention to later places is not supported", name);
    const struct cr_json *layers = cr_json_member(root, "per_layer_config");
    if (cr_json_given(root, "per_layer_config") && cr_json_count(layers) > 0)
        return cr_fail(CR_UNSUPPORTED, "%s: per_layer_config: layers that differ are not supported", name);
    return CR_OK;
}

static enum cr_status read_family(const struct cr_json *root, const char *name, const struct family **out)
{
    const char *given_name;
    CR_TRY(cr_json_get_string(root, name, "model_type", NULL, &given_name));
    if (!given_name) return cr_fail(CR_INVALID, "%s: model_type is missing", name);
    const struct family *family = NULL;
    for (size_t i = 0; i < sizeof families / sizeof *families; i++)
        if (strcmp(given_name, families[i].name) == 0) family = &families[i];
    if (!family)
        return cr_fail(CR_UNSUPPORTED,
                       "%s: model_type: \"%s\" is not supported (llama, mistral, qwen2, qwen3 and gpt2 are)",
                       name, given_name);
    if (family->explicit_heads && !cr_json_given(root, "num_key_value_heads"))
        return cr_fail(CR_INVALID, "%s: num_key_value_heads is missing", name);
    CR_TRY(family->gpt2 ? refuse_switch(root, name, "add_cross_attention", family->name)
                        : check_llama(root, name));
    CR_TRY(check_any(root, name));
    *out = family;
    return CR_OK;
}

static enum cr_status read_epsilon(const struct cr_json *root, const char *name, const char *key,
                                   double fallback, float *out)
{
    double epsilon;
    CR_TRY(cr_json_get_number(root, name, key, fallback, &epsilon));
    if (!((float)epsilon > 0 && epsilon <= 1))
        return cr_fail(CR_INVALID, "%s: %s: %g is not a small positive number", name, key, epsilon);
    *out = (float)epsilon;
    return CR_OK;
}

// The key that counts: the other families' name, which Transformers prefers to gpt2's own.
static const char *either(const struct cr_json *root, const char *own, const char *other)
{
    return cr_json_given(root, other) ? other : own;
}

// gpt2's activation: three names of one formula with tanh, or gelu by the normal distribution.
static enum cr_status read_gelu(const struct cr_json *root, const char *name, struct cr_model_config *out)
{
    static const char *const by_tanh[] = {"gelu_new", "gelu_pytorch_tanh", "gelu_fast"};
    const char *key = "activation_function", *activation;
    CR_TRY(cr_json_get_string(root, name, key, by_tanh[0], &activation));
    out->gelu = true;
    out->gelu_erf = strcmp(activation, "gelu") == 0;
    if (out->gelu_erf) return CR_OK;
    for (size_t i = 0; i < sizeof by_tanh / sizeof *by_tanh; i++)
        if (strcmp(activation, by_tanh[i]) == 0) return CR_OK;
    return fail_activation(name, key, activation, "gelu and gelu_new are");
}

// reorder_and_upcast_attn needs no look: it has scores computed in float32, as they always are here.
static enum cr_status read_score_scales(const struct cr_json *root, const char *name,
                                        struct cr_model_config *out)
{
    bool scaled;
    CR_TRY(cr_json_get_bool(root, name, "scale_attn_weights", true, &scaled));
    out->unscaled_scores = !scaled;
    return cr_json_get_bool(root, name, "scale_attn_by_inverse_layer_idx", false, &out->scores_by_layer);
}

static enum cr_status read_gpt2(const struct cr_json *root, const char *name, const struct family *family,
                                struct cr_model_config *out)
{
    out->layout = CR_LAYOUT_GPT2;
    out->qkv_bias = out->o_bias = out->mlp_bias = out->layer_norm = out->learned_positions = true;
    CR_TRY(read_gelu(root, name, out));
    CR_TRY(read_score_scales(root, name, out));
    CR_TRY(cr_json_require_size(root, name, either(root, "n_layer", "num_hidden_layers"), 1, CR_MOST_LAYERS,
                                &out->layers));
    CR_TRY(cr_json_require_size(root, name, either(root, "n_embd", "hidden_size"), 1, MOST_HIDDEN,
                                &out->hidden));
    CR_TRY(cr_json_require_size(root, name, either(root, "n_head", "num_attention_heads"), 1, MOST_HEADS,
                                &out->heads));
    out->kv_heads = out->heads;
    if (out->hidden % out->heads != 0)
        return cr_fail(CR_INVALID, "%s: n_embd: %zu is not a multiple of n_head %zu", name, out->hidden,
                       out->heads);
    out->head_dim = out->hidden / out->heads;
    if (out->head_dim > MOST_HEAD_DIM)
        return cr_fail(CR_INVALID, "%s: n_embd / n_head: %zu is more than %d", name, out->head_dim,
                       MOST_HEAD_DIM);
    CR_TRY(
        cr_json_get_size(root, name, "n_inner", 1, MOST_INTERMEDIATE, 4 * out->hidden, &out->intermediate));
    CR_TRY(cr_json_require_size(root, name, "vocab_size", 1, MOST_VOCABULARY, &out->vocabulary));
    CR_TRY(cr_json_get_size(root, name, either(root, "n_positions", "max_position_embeddings"), 1,
                            CR_MOST_CONTEXT, family->context, &out->context));
    CR_TRY(cr_json_get_bool(root, name, "tie_word_embeddings", true, &out->tied_head));
    return read_epsilon(root, name, "layer_norm_epsilon", 1e-5, &out->norm_epsilon);
}

static enum cr_status read_shape(const struct cr_json *root, const char *name, const struct family *family,
                                 struct cr_model_config *out)
{
    CR_TRY(read_biases(root, name, family, out));
    out->head_norms = family->head_norms;
    CR_TRY(cr_json_require_size(root, name, "num_hidden_layers", 1, CR_MOST_LAYERS, &out->layers));
    CR_TRY(cr_json_require_size(root, name, "hidden_size", 1, MOST_HIDDEN, &out->hidden));
    CR_TRY(cr_json_require_size(root, name, "num_attention_heads", 1, MOST_HEADS, &out->heads));
    CR_TRY(cr_json_get_size(root, name, "num_key_value_heads", 1, MOST_HEADS, out->heads, &out->kv_heads));
    if (out->heads % out->kv_heads != 0)
        return cr_fail(CR_INVALID, "%s: num_key_value_heads: %zu does not divide num_attention_heads %zu",
                       name, out->kv_heads, out->heads);
    // Qwen3's head_dim does not follow from the width.
    if (family->head_norms && !cr_json_given(root, "head_dim"))
        return cr_fail(CR_INVALID, "%s: head_dim is missing", name);
    if (!cr_json_given(root, "head_dim") && out->hidden % out->heads != 0)
        return cr_fail(CR_INVALID,
                       "%s: hidden_size: %zu is not a multiple of num_attention_heads %zu and there is no "
                       "head_dim",
                       name, out->hidden, out->heads);
    CR_TRY(
        cr_json_get_size(root, name, "head_dim", 1, MOST_HEAD_DIM, out->hidden / out->heads, &out->head_dim));
    if (out->head_dim > MOST_HEAD_DIM || out->head_dim % 2 != 0)
        return cr_fail(CR_INVALID, "%s: head_dim: %zu is not an even number up to %d", name, out->head_dim,
                       MOST_HEAD_DIM);
    CR_TRY(cr_json_require_size(root, name, "intermediate_size", 1, MOST_INTERMEDIATE, &out->intermediate));
    CR_TRY(cr_json_require_size(root, name, "vocab_size", 1, MOST_VOCABULARY, &out->vocabulary));
    CR_TRY(cr_json_get_size(root, name, "max_position_embeddings", 1, CR_MOST_CONTEXT, family->context,
                            &out->context));
    CR_TRY(cr_json_get_bool(root, name, "tie_word_embeddings", false, &out->tied_head));
    return read_epsilon(root, name, "rms_norm_eps", 1e-6, &out->norm_epsilon);
}

static enum cr_status read_config(const struct cr_json *root, const char *name, struct cr_model_config *out)
{
    if (cr_json_kind(root) != CR_JSON_OBJECT) return cr_fail(CR_INVALID, "%s: not a JSON object", name);
    struct cr_model_config config = {0};
    const struct family *family = NULL;
    CR_TRY(read_family(root, name, &family));
    if (family->gpt2) {
        CR_TRY(read_gpt2(root, name, family, &config));
    } else {
        CR_TRY(read_shape(root, name, family, &config));
        CR_TRY(cr_rope_read(root, name, config.head_dim, config.context, &config.rope));
        CR_TRY(read_window(root, name, family, &config));
    }
    *out = config;
    return CR_OK;
}

enum cr_status cr_model_config_parse(struct cr_slice text, const char *name, struct cr_model_config *out)
{
    CR_CLEANUP(cr_json_release) struct cr_json *root = NULL;
    CR_TRY(cr_json_parse_file(text, name, &root));
    return read_config(root, name, out);
}

enum cr_status cr_model_config_read(const char *directory, struct cr_model_config *out)
{
    CR_FREE char *path = NULL;
    CR_TRY(cr_path_join(directory, "config.json", &path));
    if (!cr_file_exists(path))
        return cr_fail(
            CR_NOT_FOUND,
            "%s: not there (a model is a Hugging Face directory on this machine; nothing is fetched)", path);
    CR_TRY(cr_file_look(path));
    if (cr_directory_has(directory, "adapter_config.json"))
        return cr_fail(
            CR_UNSUPPORTED,
            "%s: adapter_config.json: an adapter beside the model, which Transformers would load with "
            "it: move it to a directory of its own",
            directory);
    CR_CLEANUP(cr_json_release) struct cr_json *root = NULL;
    CR_TRY(cr_json_read(path, MOST_FILE, &root));
    return read_config(root, path, out);
}
