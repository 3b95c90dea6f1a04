#include "tuning/peft.h"

#include "base/file.h"
#include "format/safetensors.h"
#include "tuning/adapter.h"

enum { CONFIG_LIMIT = 1 << 20 };

static enum cr_status write_tensors(const char *directory, const struct cr_parameters *parameters)
{
    CR_FREE struct cr_tensor_entry *entries = NULL;
    CR_TRY(cr_allocate(parameters->item_count, sizeof *entries, &entries));
    for (size_t i = 0; i < parameters->item_count; i++) {
        const struct cr_parameter *item = &parameters->items[i];
        entries[i] = (struct cr_tensor_entry){
            .name = item->name,
            .dtype = CR_F32,
            .rank = item->rank,
            .shape = {item->shape[0], item->shape[1]},
            .bytes = {(const unsigned char *)(parameters->values + item->offset),
                      item->count * sizeof(float)},
        };
    }
    CR_FREE char *path = NULL;
    CR_TRY(cr_path_join(directory, "adapter_model.safetensors", &path));
    return cr_safetensors_write(path, entries, parameters->item_count, true);
}

enum cr_status cr_peft_write(const char *directory, const struct cr_peft_config *config,
                             const char *base_model, const struct cr_model_config *model,
                             const struct cr_parameters *parameters)
{
    CR_CLEANUP(cr_buffer_release) struct cr_buffer text = {0};
    CR_TRY(cr_peft_config_write(config, base_model, model, &text));
    CR_TRY(cr_directory_make(directory, true));
    CR_TRY(write_tensors(directory, parameters));
    CR_FREE char *path = NULL;
    CR_TRY(cr_path_join(directory, "adapter_config.json", &path));
    return cr_file_write(path, cr_buffer_slice(&text), true);
}

// Checks that the file has the expected tensors in the expected shapes, and nothing else.
static enum cr_status check_tensors(const struct cr_safetensors *file, const struct cr_parameters *expected)
{
    const char *name = cr_safetensors_name(file);
    for (size_t i = 0; i < expected->item_count; i++) {
        const struct cr_parameter *item = &expected->items[i];
        const struct cr_tensor_entry *entry = cr_safetensors_find(file, item->name);
        if (!entry) return cr_fail(CR_INVALID, "%s: %s: missing", name, item->name);
        if (entry->rank != 2 || entry->shape[0] != item->shape[0] || entry->shape[1] != item->shape[1])
            return cr_fail(CR_INVALID,
                           "%s: %s: its shape is [%zu, %zu] of rank %zu where [%zu, %zu] is expected", name,
                           item->name, entry->shape[0], entry->rank > 1 ? entry->shape[1] : 1, entry->rank,
                           item->shape[0], item->shape[1]);
        if (!cr_dtype_of_weights(entry->dtype))
            return cr_fail(CR_UNSUPPORTED, "%s: %s: only F32, F16 and BF16 are supported", name, item->name);
    }
    for (size_t i = 0; i < cr_safetensors_count(file); i++) {
        const char *found = cr_safetensors_at(file, i)->name;
        if (!cr_parameters_find(expected, found))
            return cr_fail(CR_INVALID, "%s: %.200s: adapter_config.json names no such tensor", name, found);
    }
    return CR_OK;
}

static enum cr_status lora_parameters(const struct cr_lora_config *config,
                                      const struct cr_model_config *model, struct cr_parameters *parameters)
{
    CR_FREE struct cr_module_place *places = NULL;
    size_t targets, count;
    const char *const *names = cr_lora_targets(config, model, &targets);
    CR_TRY(cr_module_places("", names, targets, &config->targets.layers, model, &places, &count));
    return cr_lora_parameters(config, model, places, count, parameters);
}

enum cr_status cr_peft_parameters(const struct cr_peft_config *config, const struct cr_model_config *model,
                                  struct cr_parameters *parameters)
{
    if (config->method == CR_METHOD_LORA) return lora_parameters(&config->lora, model, parameters);
    if (config->num_layers > 0 && config->num_layers != model->layers)
        return cr_fail(CR_INVALID, "num_layers: %zu: the model has %zu", config->num_layers, model->layers);
    struct cr_prefix_config projected = config->prefix;
    projected.prefix_projection = false;
    return cr_prefix_parameters(&projected, model, parameters);
}

// Checked before memory is allocated, so that a configuration cannot request more than its file holds.
static enum cr_status check_adapter(const struct cr_peft_config *config, const char *config_path,
                                    const struct cr_model_config *model, const struct cr_safetensors *file)
{
    CR_CLEANUP(cr_parameters_release) struct cr_parameters expected = {0};
    enum cr_status status = cr_peft_parameters(config, model, &expected);
    if (status != CR_OK) return cr_fail_within(status, "%s", config_path);
    return check_tensors(file, &expected);
}

enum cr_status cr_peft_open_tensors(const char *directory, struct cr_safetensors **out)
{
    CR_FREE char *path = NULL;
    CR_FREE char *pickled = NULL;
    CR_TRY(cr_path_join(directory, "adapter_model.safetensors", &path));
    CR_TRY(cr_path_join(directory, "adapter_model.bin", &pickled));
    if (!cr_file_exists(path) && cr_file_exists(pickled))
        return cr_fail(CR_UNSUPPORTED,
                       "%s: only safetensors are read (in Python, load it with PEFT and call "
                       "save_pretrained(..., safe_serialization=True))",
                       pickled);
    return cr_safetensors_open(path, out);
}

enum cr_status cr_peft_open(const char *directory, struct cr_model *model, struct cr_structure **out)
{
    CR_FREE char *config_path = NULL;
    CR_TRY(cr_path_join(directory, "adapter_config.json", &config_path));
    CR_CLEANUP(cr_buffer_release) struct cr_buffer text = {0};
    CR_TRY(cr_file_read(config_path, CONFIG_LIMIT, &text));
    CR_CLEANUP(cr_peft_config_release) struct cr_peft_config config = {0};
    CR_TRY(cr_peft_config_parse(cr_buffer_slice(&text), config_path, &config));
    cr_targets_keep_known(&config.lora.targets, &model->config);
    CR_CLEANUP(cr_safetensors_release) struct cr_safetensors *file = NULL;
    CR_TRY(cr_peft_open_tensors(directory, &file));
    CR_TRY(check_adapter(&config, config_path, &model->config, file));
    struct cr_structure *structure;
    CR_TRY(config.method == CR_METHOD_LORA ? cr_lora_new(&config.lora, model, 0, 0, NULL, &structure)
                                           : cr_prefix_new(&config.prefix, model, false, &structure));
    return cr_adapter_fill(structure, file, out);
}
