#include "tuning/lora.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

double cr_lora_scale(const struct cr_lora_config *config)
{
    double r = (double)config->r;
    return config->lora_alpha / (config->use_rslora ? sqrt(r) : r);
}

// The module's name in Transformers' model, which target_modules are matched against; false where the model
// has no such module.
static bool place_name(const struct cr_model_config *model, struct cr_lora_place place, char *name,
                       size_t size)
{
    const char *path = cr_module_path(model, place.module);
    if (path) snprintf(name, size, "%s.%zu.%s", cr_layers_path(model), place.layer, path);
    return path != NULL;
}

// PEFT's rule: the whole name, or what follows one of its points.
static bool matches(const char *target, const char *name)
{
    size_t size = strlen(name), tail = strlen(target);
    if (strcmp(target, "all-linear") == 0) return true;
    return tail <= size && strcmp(name + size - tail, target) == 0 &&
           (tail == size || name[size - tail - 1] == '.');
}

static enum cr_status fail_unknown(const struct cr_model_config *model, const char *target)
{
    char known[256] = "";
    for (size_t m = 0, at = 0; m < CR_MODULES && at < sizeof known; m++) {
        const char *name = cr_module_name(model, (enum cr_module)m);
        if (name && !strstr(known, name)) // gpt2 has two c_proj
            at += (size_t)snprintf(known + at, sizeof known - at, "%s, ", name);
    }
    return cr_fail(CR_INVALID, "target_modules: \"%.100s\": no such linear module (known: %sall-linear)",
                   target, known);
}

// Which of the model's layers are adapted; *out has one flag per layer.
static enum cr_status chosen_layers(const struct cr_size_list *wanted, size_t layers, bool **out)
{
    CR_FREE bool *chosen = NULL;
    CR_TRY(cr_allocate(layers, sizeof *chosen, &chosen));
    for (size_t i = 0; i < layers; i++) chosen[i] = wanted->count == 0;
    for (size_t i = 0; i < wanted->count; i++) {
        if (wanted->items[i] >= layers)
            return cr_fail(CR_INVALID, "layers_to_transform: %zu: the model has layers 0 to %zu",
                           wanted->items[i], layers - 1);
        chosen[wanted->items[i]] = true;
    }
    *out = chosen;
    chosen = NULL;
    return CR_OK;
}

// Marks the places that one target names, among all of the model's; none is an error.
static enum cr_status mark_target(const struct cr_model_config *model, const char *target, bool *marked)
{
    bool known = false;
    for (size_t i = 0; i < model->layers * CR_MODULES; i++) {
        char name[96];
        struct cr_lora_place place = {i / CR_MODULES, (enum cr_module)(i % CR_MODULES)};
        if (!place_name(model, place, name, sizeof name) || !matches(target, name)) continue;
        marked[i] = true;
        known = true;
    }
    return known ? CR_OK : fail_unknown(model, target);
}

const char *const *cr_lora_targets(const struct cr_lora_config *config, const struct cr_model_config *model,
                                   size_t *count)
{
    static const char *const llama[] = {"q_proj", "v_proj"}, *const gpt2[] = {"c_attn"};
    bool fused = model->layout == CR_LAYOUT_GPT2;
    *count = config->target_modules.count;
    if (*count > 0) return (const char *const *)config->target_modules.items;
    *count = fused ? sizeof gpt2 / sizeof *gpt2 : sizeof llama / sizeof *llama;
    return fused ? gpt2 : llama;
}

enum cr_status cr_lora_places(const struct cr_lora_config *config, const struct cr_model_config *model,
                              struct cr_lora_place **out, size_t *count)
{
    CR_FREE bool *chosen = NULL;
    CR_TRY(chosen_layers(&config->layers_to_transform, model->layers, &chosen));
    CR_FREE bool *marked = NULL;
    CR_TRY(cr_allocate(model->layers * CR_MODULES, sizeof *marked, &marked));
    size_t targets;
    const char *const *names = cr_lora_targets(config, model, &targets);
    for (size_t i = 0; i < targets; i++) CR_TRY(mark_target(model, names[i], marked));
    CR_FREE struct cr_lora_place *places = NULL;
    CR_TRY(cr_allocate(model->layers * CR_MODULES, sizeof *places, &places));
    size_t found = 0;
    for (size_t i = 0; i < model->layers * CR_MODULES; i++)
        if (chosen[i / CR_MODULES] && marked[i])
            places[found++] = (struct cr_lora_place){i / CR_MODULES, (enum cr_module)(i % CR_MODULES)};
    if (found == 0)
        return cr_fail(CR_INVALID,
                       "target_modules: none lies in layers_to_transform: nothing would be adapted");
    *out = places;
    *count = found;
    places = NULL;
    return CR_OK;
}

enum cr_status cr_lora_parameters(const struct cr_lora_config *config, const struct cr_model_config *model,
                                  const struct cr_lora_place *places, size_t count,
                                  struct cr_parameters *parameters)
{
    for (size_t i = 0; i < count; i++) {
        size_t out, in;
        char place[96];
        cr_module_shape(model, places[i].module, &out, &in);
        (void)place_name(model, places[i], place, sizeof place); // a place of the model's has one
        for (char matrix = 'A'; matrix <= 'B'; matrix++) {
            char name[160];
            snprintf(name, sizeof name, "base_model.model.%s.lora_%c.weight", place, matrix);
            CR_TRY(cr_parameters_add(parameters, name, matrix == 'A' ? config->r : out,
                                     matrix == 'A' ? in : config->r, NULL));
        }
    }
    return CR_OK;
}

enum cr_status cr_lora_config_copy(const struct cr_lora_config *config, struct cr_lora_config *out)
{
    struct cr_lora_config copy = *config;
    copy.target_modules = (struct cr_string_list){0};
    copy.layers_to_transform = (struct cr_size_list){0};
    enum cr_status status;
    CR_TRY_GOTO(status, failed,
                cr_allocate(config->target_modules.count, sizeof(char *), &copy.target_modules.items));
    for (; copy.target_modules.count < config->target_modules.count; copy.target_modules.count++)
        CR_TRY_GOTO(status, failed,
                    cr_copy_string(config->target_modules.items[copy.target_modules.count],
                                   &copy.target_modules.items[copy.target_modules.count]));
    size_t layers = config->layers_to_transform.count;
    CR_TRY_GOTO(status, failed, cr_allocate(layers, sizeof(size_t), &copy.layers_to_transform.items));
    if (layers > 0)
        memcpy(copy.layers_to_transform.items, config->layers_to_transform.items, layers * sizeof(size_t));
    copy.layers_to_transform.count = layers;
    *out = copy;
    return CR_OK;
failed:
    cr_lora_config_release(&copy);
    return status;
}

void cr_lora_config_release(struct cr_lora_config *config)
{
    for (size_t i = 0; i < config->target_modules.count; i++) free(config->target_modules.items[i]);
    free(config->target_modules.items);
    free(config->layers_to_transform.items);
    config->target_modules = (struct cr_string_list){0};
    config->layers_to_transform = (struct cr_size_list){0};
}
