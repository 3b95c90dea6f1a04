#include "cli/say_model.h"

#include "base/file.h"
#include "base/parse.h"
#include "format/json.h"
#include "format/safetensors.h"
#include "model/config.h"
#include "tuning/peft.h"
#include "tuning/spf.h"
#include "tuning/spf_file.h"

#include <stdio.h>
#include <string.h>

static size_t values_of(const struct cr_tensor_entry *entry)
{
    return entry->bytes.size * 8 / cr_dtype_bits(entry->dtype);
}

// Counts of tensors and values, bytes, and the types that occur.
static enum cr_status say_totals(struct cr_said *said, const struct cr_safetensors *file)
{
    size_t values = 0, bytes = 0;
    bool occurs[CR_DTYPES] = {0};
    for (size_t i = 0; i < cr_safetensors_count(file); i++) {
        const struct cr_tensor_entry *entry = cr_safetensors_at(file, i);
        values += values_of(entry);
        bytes += entry->bytes.size;
        occurs[entry->dtype] = true;
    }
    char types[256] = "";
    for (enum cr_dtype dtype = CR_F32; dtype < CR_DTYPES; dtype++)
        if (occurs[dtype])
            snprintf(types + strlen(types), sizeof types - strlen(types), "%s%s", types[0] ? ", " : "",
                     cr_dtype_name(dtype));
    CR_TRY(cr_say_count(said, "tensors", cr_safetensors_count(file)));
    CR_TRY(cr_say_count(said, "values", values));
    CR_TRY(cr_say_text(said, "dtype", types));
    return cr_say_count(said, "bytes", bytes);
}

static enum cr_status say_tensor(struct cr_said *said, const struct cr_tensor_entry *entry, bool first)
{
    struct cr_buffer *out = &said->out;
    const char *dtype = cr_dtype_name(entry->dtype);
    if (said->json)
        CR_TRY(cr_append_format(out, "%s{\"name\": ", first ? "" : ", "));
    else
        CR_TRY(cr_append_format(out, "  %-4s ", dtype));
    CR_TRY(cr_said_append(said, entry->name));
    if (said->json)
        CR_TRY(cr_append_format(out, ", \"dtype\": \"%s\", \"shape\": [", dtype));
    else
        CR_TRY(cr_append_format(out, " ["));
    for (size_t d = 0; d < entry->rank; d++)
        CR_TRY(cr_append_format(out, "%s%zu", d > 0 ? ", " : "", entry->shape[d]));
    return cr_append_format(out, said->json ? "]}" : "]\n");
}

enum cr_status cr_say_safetensors(struct cr_said *said, const char *path)
{
    CR_CLEANUP(cr_safetensors_release) struct cr_safetensors *file = NULL;
    CR_TRY(cr_safetensors_open(path, &file));
    CR_TRY(cr_say_text(said, "kind", "safetensors"));
    CR_TRY(say_totals(said, file));
    if (said->json) CR_TRY(cr_append_format(&said->out, ", \"entries\": ["));
    for (size_t i = 0; i < cr_safetensors_count(file); i++)
        CR_TRY(say_tensor(said, cr_safetensors_at(file, i), i == 0));
    return said->json ? cr_append(&said->out, "]", 1) : CR_OK;
}

enum cr_status cr_say_index(struct cr_said *said, const struct cr_json *index, const char *path)
{
    const struct cr_json *weight_map = cr_json_member(index, "weight_map");
    const struct cr_json *total = cr_json_member(cr_json_member(index, "metadata"), "total_size");
    CR_FREE const char **names = NULL;
    size_t shards;
    int64_t bytes;
    CR_TRY(cr_safetensors_shard_names(weight_map, path, &names, &shards));
    CR_TRY(cr_say_text(said, "kind", "safetensors index"));
    CR_TRY(cr_say_count(said, "shards", shards));
    CR_TRY(cr_say_count(said, "tensors", cr_json_count(weight_map)));
    return cr_json_is_integer(total, &bytes) && bytes >= 0 ? cr_say_count(said, "bytes", (size_t)bytes)
                                                           : CR_OK;
}

// Describes config.json, whose content is `text`.
enum cr_status cr_say_model_config(struct cr_said *said, struct cr_slice text, const char *path)
{
    CR_CLEANUP(cr_json_release) struct cr_json *root = NULL;
    const char *family;
    struct cr_model_config config;
    CR_TRY(cr_model_config_parse(text, path, &config));
    CR_TRY(cr_json_parse_file(text, path, &root));
    CR_TRY(cr_json_get_string(root, path, "model_type", "", &family));
    CR_TRY(cr_say_text(said, "family", family));
    CR_TRY(cr_say_count(said, "layers", config.layers));
    CR_TRY(cr_say_count(said, "hidden", config.hidden));
    CR_TRY(cr_say_count(said, "heads", config.heads));
    CR_TRY(cr_say_count(said, "kv_heads", config.kv_heads));
    CR_TRY(cr_say_count(said, "intermediate", config.intermediate));
    CR_TRY(cr_say_count(said, "vocabulary", config.vocabulary));
    CR_TRY(cr_say_count(said, "context", config.context));
    return cr_say_bool(said, "tied_head", config.tied_head);
}

enum cr_status cr_say_model(struct cr_said *said, const char *directory, const char *config_path)
{
    CR_CLEANUP(cr_buffer_release) struct cr_buffer text = {0};
    CR_TRY(cr_file_read(config_path, CR_SAY_JSON_LIMIT, &text));
    CR_CLEANUP(cr_safetensors_release) struct cr_safetensors *file = NULL;
    CR_TRY(cr_safetensors_open(directory, &file));
    CR_TRY(cr_say_text(said, "kind", "model"));
    CR_TRY(cr_say_model_config(said, cr_buffer_slice(&text), config_path));
    CR_TRY(say_totals(said, file));
    return cr_say_count(said, "shards", cr_safetensors_shards(file));
}

enum cr_status cr_say_adapter_config(struct cr_said *said, struct cr_slice text, const char *path)
{
    CR_CLEANUP(cr_peft_config_release) struct cr_peft_config config = {0};
    CR_TRY(cr_peft_config_parse(text, path, &config));
    CR_TRY(cr_say_text(said, "peft_type", config.method == CR_METHOD_LORA ? "LORA" : "PREFIX_TUNING"));
    if (config.method == CR_METHOD_PREFIX_TUNING) {
        CR_TRY(cr_say_count(said, "num_virtual_tokens", config.prefix.num_virtual_tokens));
        return cr_say_bool(said, "prefix_projection", config.prefix.prefix_projection);
    }
    CR_TRY(cr_say_count(said, "r", config.lora.r));
    CR_TRY(cr_say_number(said, "lora_alpha", config.lora.lora_alpha));
    CR_TRY(cr_say_bool(said, "use_rslora", config.lora.use_rslora));
    CR_TRY(cr_say_list(said, "target_modules", &config.lora.targets.modules));
    if (config.lora.targets.layers.count == 0) return CR_OK; // all layers
    return cr_say_sizes(said, "layers_to_transform", &config.lora.targets.layers);
}

enum cr_status cr_say_sparse(struct cr_said *said, const struct cr_spf_config *config)
{
    CR_TRY(cr_say_text(said, "criterion", cr_spf_criteria[config->criterion]));
    CR_TRY(cr_say_text(said, "granularity", cr_spf_granularities[config->granularity]));
    CR_TRY(cr_say_number(said, "density", config->density));
    return cr_say_list(said, "sparse_modules", &config->targets.modules);
}

enum cr_status cr_say_sparse_config(struct cr_said *said, struct cr_slice text, const char *path)
{
    CR_CLEANUP(cr_spf_config_release) struct cr_spf_config config = {0};
    CR_TRY(cr_spf_config_parse(text, path, &config));
    return cr_say_sparse(said, &config);
}

// How the change was chosen, and its size: each number in the tensors called values is a changed weight.
enum cr_status cr_say_change(struct cr_said *said, const char *directory)
{
    CR_FREE char *config = NULL;
    CR_FREE char *tensors = NULL;
    CR_TRY(cr_path_join(directory, cr_spf_config_name, &config));
    CR_TRY(cr_path_join(directory, cr_spf_model_name, &tensors));
    CR_CLEANUP(cr_buffer_release) struct cr_buffer text = {0};
    CR_TRY(cr_file_read(config, CR_SAY_JSON_LIMIT, &text));
    CR_CLEANUP(cr_safetensors_release) struct cr_safetensors *file = NULL;
    CR_TRY(cr_safetensors_open(tensors, &file));
    CR_TRY(cr_say_sparse_config(said, cr_buffer_slice(&text), config));
    size_t modules = 0, weights = 0;
    for (size_t i = 0; i < cr_safetensors_count(file); i++) {
        const struct cr_tensor_entry *entry = cr_safetensors_at(file, i);
        if (!cr_ends_with(entry->name, ".values")) continue;
        modules++;
        weights += values_of(entry);
    }
    CR_TRY(cr_say_count(said, "changed_modules", modules));
    return cr_say_count(said, "changed_weights", weights);
}

enum cr_status cr_say_adapter(struct cr_said *said, const char *directory, const char *config_path)
{
    CR_CLEANUP(cr_buffer_release) struct cr_buffer text = {0};
    CR_TRY(cr_file_read(config_path, CR_SAY_JSON_LIMIT, &text));
    CR_CLEANUP(cr_safetensors_release) struct cr_safetensors *file = NULL;
    CR_TRY(cr_peft_open_tensors(directory, &file));
    CR_TRY(cr_say_text(said, "kind", "adapter"));
    CR_TRY(cr_say_adapter_config(said, cr_buffer_slice(&text), config_path));
    return say_totals(said, file);
}
