#include "tuning/peft.h"

#include "format/json.h"
#include "tuning/targets.h"

#include <math.h>
#include <string.h>

enum {
    MOST_RANK = 1 << 16,
    MOST_TOKENS = 1 << 16,
    MOST_WIDTH = 1 << 24,
};

// The options of one of PEFT's classes: those that are read below, and those that do not affect the adapter's
// arithmetic, whatever their values.
struct vocabulary {
    const char *const *known;
    size_t known_count;
    const char *const *harmless;
    size_t harmless_count;
};

static const char *const lora_harmless[] = {
    "alpha", // written by old scripts besides lora_alpha; PEFT does not know it
    "auto_mapping",
    "base_model_name_or_path",
    "corda_config",
    "eva_config",
    "inference_mode",
    "fan_in_fan_out", // how the base stores its weight; PEFT corrects it by itself
    "loftq_config",
    "lora_ga_config",
    "megatron_config",
    "megatron_core",
    "peft_version",
    "qalora_group_size",
    "ensure_weight_tying",
    "revision",
    "runtime_config",
    "task_type",
};
static const char *const lora_known[] = {
    "alpha_pattern",
    "bias",
    "init_lora_weights",
    "layers_pattern",
    "layers_to_transform",
    "lora_alpha",
    "lora_dropout",
    "peft_type",
    "r",
    "rank_pattern",
    "target_modules",
    "use_rslora",
};
static const struct vocabulary lora_vocabulary = {
    lora_known,
    sizeof lora_known / sizeof *lora_known,
    lora_harmless,
    sizeof lora_harmless / sizeof *lora_harmless,
};

// The model's shape is derived from the model again, as in PEFT.
static const char *const prefix_harmless[] = {
    "auto_mapping",
    "base_model_name_or_path",
    "inference_mode",
    "init_weights",
    "num_attention_heads",
    "peft_version",
    "revision",
    "task_type",
    "token_dim",
};
static const char *const prefix_known[] = {
    "encoder_hidden_size", "num_layers", "num_transformer_submodules",
    "num_virtual_tokens",  "peft_type",  "prefix_projection",
};
static const struct vocabulary prefix_vocabulary = {
    prefix_known,
    sizeof prefix_known / sizeof *prefix_known,
    prefix_harmless,
    sizeof prefix_harmless / sizeof *prefix_harmless,
};

static bool is_in(const char *key, const char *const *list, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(key, list[i]) == 0) return true;
    return false;
}

static bool says_nothing(const struct cr_json *value)
{
    switch (cr_json_kind(value)) {
    case CR_JSON_NULL:
        return true;
    case CR_JSON_BOOL:
        return !cr_json_bool(value, true);
    case CR_JSON_STRING:
        return cr_json_string(value).size == 0;
    case CR_JSON_ARRAY:
    case CR_JSON_OBJECT:
        return cr_json_count(value) == 0;
    case CR_JSON_NUMBER:
        break;
    }
    return false;
}

static enum cr_status refuse_unknown(const struct cr_json *root, const char *name,
                                     const struct vocabulary *vocabulary)
{
    void *position = NULL;
    const char *key;
    const struct cr_json *value;
    while (cr_json_next(root, &position, &key, &value))
        if (!is_in(key, vocabulary->known, vocabulary->known_count) &&
            !is_in(key, vocabulary->harmless, vocabulary->harmless_count) && !says_nothing(value))
            return cr_fail(CR_UNSUPPORTED, "%s: %.60s: not supported", name, key);
    return CR_OK;
}

static enum cr_status refuse_unsupported(const struct cr_json *root, const char *name)
{
    const struct cr_json *bias = cr_json_member(root, "bias");
    if (!says_nothing(bias) && !cr_json_is_string(bias, "none"))
        return cr_fail(CR_UNSUPPORTED, "%s: bias: only \"none\" is supported", name);
    // Some ways to initialise also change the base model, so that the adapter is meaningless without them.
    const struct cr_json *initial = cr_json_member(root, "init_lora_weights");
    if (cr_json_kind(initial) == CR_JSON_STRING && !cr_json_is_string(initial, "gaussian") &&
        !cr_json_is_string(initial, "orthogonal") && !cr_json_is_string(initial, "eva"))
        return cr_fail(CR_UNSUPPORTED,
                       "%s: init_lora_weights: \"%.40s\" may change the base model: not supported", name,
                       (const char *)cr_json_string(initial).data);
    const struct cr_json *pattern = cr_json_member(root, "layers_pattern");
    if (cr_json_kind(pattern) == CR_JSON_ARRAY && cr_json_count(pattern) == 1)
        pattern = cr_json_at(pattern, 0);
    if (!says_nothing(pattern) && !cr_json_is_string(pattern, "layers") && !cr_json_is_string(pattern, "h"))
        return cr_fail(CR_UNSUPPORTED, "%s: layers_pattern: only \"layers\" and gpt2's \"h\" are supported",
                       name);
    for (const char *const *key = (const char *const[]){"rank_pattern", "alpha_pattern", NULL}; *key; key++)
        if (!says_nothing(cr_json_member(root, *key)))
            return cr_fail(CR_UNSUPPORTED, "%s: %s: not supported", name, *key);
    return refuse_unknown(root, name, &lora_vocabulary);
}

static enum cr_status read_lora(const struct cr_json *root, const char *name, struct cr_lora_config *out)
{
    CR_TRY(refuse_unsupported(root, name));
    for (const char *const *key = (const char *const[]){"r", "lora_alpha", NULL}; *key; key++)
        if (cr_json_member(root, *key) && cr_json_kind(cr_json_member(root, *key)) == CR_JSON_NULL)
            return cr_fail(CR_INVALID, "%s: \"%s\": a number is wanted, not null", name, *key);
    CR_TRY(cr_json_get_size(root, name, "r", 1, MOST_RANK, 8, &out->r));
    CR_TRY(cr_json_get_number(root, name, "lora_alpha", 8, &out->lora_alpha));
    CR_TRY(cr_json_get_number(root, name, "lora_dropout", 0, &out->lora_dropout));
    CR_TRY(cr_json_get_bool(root, name, "use_rslora", false, &out->use_rslora));
    if (!isfinite(out->lora_alpha) || fabs(out->lora_alpha) > 1e9)
        return cr_fail(CR_INVALID, "%s: lora_alpha: %g: out of range", name, out->lora_alpha);
    if (!(out->lora_dropout >= 0 && out->lora_dropout < 1))
        return cr_fail(CR_INVALID, "%s: lora_dropout: %g: must be at least 0 and below 1", name,
                       out->lora_dropout);
    return cr_targets_read(root, name, &out->targets);
}

static enum cr_status read_prefix(const struct cr_json *root, const char *name, struct cr_peft_config *out)
{
    struct cr_prefix_config *prefix = &out->prefix;
    size_t submodules;
    CR_TRY(refuse_unknown(root, name, &prefix_vocabulary));
    CR_TRY(
        cr_json_require_size(root, name, "num_virtual_tokens", 1, MOST_TOKENS, &prefix->num_virtual_tokens));
    CR_TRY(cr_json_get_bool(root, name, "prefix_projection", false, &prefix->prefix_projection));
    CR_TRY(
        cr_json_get_size(root, name, "encoder_hidden_size", 1, MOST_WIDTH, 0, &prefix->encoder_hidden_size));
    CR_TRY(cr_json_get_size(root, name, "num_layers", 1, CR_MOST_LAYERS, 0, &out->num_layers));
    CR_TRY(cr_json_get_size(root, name, "num_transformer_submodules", 1, 2, 1, &submodules));
    if (submodules != 1)
        return cr_fail(CR_UNSUPPORTED, "%s: num_transformer_submodules: only 1 is supported", name);
    return CR_OK;
}

static enum cr_status read_config(const struct cr_json *root, const char *name, struct cr_peft_config *out)
{
    if (cr_json_kind(root) != CR_JSON_OBJECT) return cr_fail(CR_INVALID, "%s: must be a JSON object", name);
    const struct cr_json *type = cr_json_member(root, "peft_type");
    if (cr_json_is_string(type, "LORA")) {
        out->method = CR_METHOD_LORA;
        return read_lora(root, name, &out->lora);
    }
    if (cr_json_is_string(type, "PREFIX_TUNING")) {
        out->method = CR_METHOD_PREFIX_TUNING;
        return read_prefix(root, name, out);
    }
    return cr_fail(CR_UNSUPPORTED,
                   "%s: peft_type: only \"LORA\" and \"PREFIX_TUNING\" adapters are supported", name);
}

enum cr_status cr_peft_config_parse(struct cr_slice json, const char *name, struct cr_peft_config *out)
{
    CR_CLEANUP(cr_json_release) struct cr_json *root = NULL;
    CR_TRY(cr_json_parse_file(json, name, &root));
    CR_CLEANUP(cr_peft_config_release) struct cr_peft_config config = {0};
    CR_TRY(read_config(root, name, &config));
    *out = config;
    config = (struct cr_peft_config){0};
    return CR_OK;
}

void cr_peft_config_release(struct cr_peft_config *config)
{
    cr_targets_release(&config->lora.targets);
}

// Writes what a regular expression matched as whole names: in PEFT it might match other modules than linears.
static enum cr_status append_places(const struct cr_lora_config *config, const struct cr_model_config *model,
                                    struct cr_buffer *out)
{
    CR_FREE struct cr_module_place *places = NULL;
    size_t count;
    CR_TRY(cr_lora_places(config, model, &places, &count));
    for (size_t i = 0; i < count; i++) {
        char name[CR_PLACE_NAME_SIZE];
        (void)cr_module_place_name(model, places[i], name); // a place of the model has a name
        CR_TRY(cr_append_format(out, "%s\"%s\"", i == 0 ? "[" : ", ", name));
    }
    return cr_append_format(out, "]");
}

// Writes the targets as they were given; all-linear becomes the list of names, because PEFT accepts
// layers_to_transform only with a list.
static enum cr_status append_targets(const struct cr_lora_config *config, const struct cr_model_config *model,
                                     struct cr_buffer *out)
{
    const char *all[CR_MODULES];
    size_t all_count = 0, count;
    const char *const *targets = cr_lora_targets(config, model, &count);
    if (cr_target_is_expression(model, targets[0])) return append_places(config, model, out);
    for (size_t i = 0; i < CR_MODULES; i++) {
        const char *name = cr_module_name(model, (enum cr_module)i);
        if (name && !is_in(name, all, all_count)) all[all_count++] = name; // gpt2 has two c_proj
    }
    if (is_in("all-linear", targets, count)) {
        targets = all;
        count = all_count;
    }
    for (size_t i = 0; i < count; i++) {
        CR_TRY(cr_append_format(out, "%s", i == 0 ? "[" : ", "));
        CR_TRY(cr_json_append_string(out, cr_slice_of_string(targets[i])));
    }
    return cr_append_format(out, "]");
}

static enum cr_status write_lora(const struct cr_lora_config *config, const char *base_model,
                                 const struct cr_model_config *model, struct cr_buffer *out)
{
    CR_TRY(cr_append_format(out, "{\n  \"alpha_pattern\": {},\n  \"auto_mapping\": null,\n"
                                 "  \"base_model_name_or_path\": "));
    CR_TRY(cr_json_append_string(out, cr_slice_of_string(base_model)));
    CR_TRY(cr_append_format(out,
                            ",\n  \"bias\": \"none\",\n  \"exclude_modules\": null,\n"
                            "  \"fan_in_fan_out\": %s,\n  \"inference_mode\": true,\n"
                            "  \"init_lora_weights\": true,\n  \"layer_replication\": null,\n"
                            "  \"layers_pattern\": null,\n  \"layers_to_transform\": ",
                            model->layout == CR_LAYOUT_GPT2 ? "true" : "false"));
    CR_TRY(cr_layers_append(&config->targets.layers, out));
    CR_TRY(cr_append_format(out, ",\n  \"lora_alpha\": "));
    CR_TRY(cr_json_append_number(out, config->lora_alpha));
    CR_TRY(cr_append_format(out, ",\n  \"lora_bias\": false,\n  \"lora_dropout\": "));
    CR_TRY(cr_json_append_number(out, config->lora_dropout));
    CR_TRY(cr_append_format(out,
                            ",\n  \"modules_to_save\": null,\n  \"peft_type\": \"LORA\",\n  \"r\": %zu,\n"
                            "  \"rank_pattern\": {},\n  \"revision\": null,\n  \"target_modules\": ",
                            config->r));
    CR_TRY(append_targets(config, model, out));
    return cr_append_format(out,
                            ",\n  \"task_type\": \"CAUSAL_LM\",\n  \"use_dora\": false,\n"
                            "  \"use_rslora\": %s\n}\n",
                            config->use_rslora ? "true" : "false");
}

static enum cr_status write_prefix(const struct cr_prefix_config *config, const char *base_model,
                                   const struct cr_model_config *model, struct cr_buffer *out)
{
    size_t token_dim = cr_prefix_token_dim(model);
    CR_TRY(cr_append_format(out, "{\n  \"auto_mapping\": null,\n  \"base_model_name_or_path\": "));
    CR_TRY(cr_json_append_string(out, cr_slice_of_string(base_model)));
    return cr_append_format(
        out,
        ",\n  \"encoder_hidden_size\": %zu,\n  \"inference_mode\": true,\n  \"init_weights\": null,\n"
        "  \"modules_to_save\": null,\n  \"num_attention_heads\": %zu,\n  \"num_layers\": %zu,\n"
        "  \"num_transformer_submodules\": 1,\n  \"num_virtual_tokens\": %zu,\n"
        "  \"peft_type\": \"PREFIX_TUNING\",\n  \"prefix_projection\": %s,\n  \"revision\": null,\n"
        "  \"task_type\": \"CAUSAL_LM\",\n  \"token_dim\": %zu\n}\n",
        cr_prefix_hidden(config, model), model->kv_heads, model->layers, config->num_virtual_tokens,
        config->prefix_projection ? "true" : "false", token_dim);
}

enum cr_status cr_peft_config_write(const struct cr_peft_config *config, const char *base_model,
                                    const struct cr_model_config *model, struct cr_buffer *out)
{
    if (config->method == CR_METHOD_LORA) return write_lora(&config->lora, base_model, model, out);
    return write_prefix(&config->prefix, base_model, model, out);
}
