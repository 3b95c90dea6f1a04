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

enum cr_status cr_lora_targets(const struct cr_string_list *names, bool targets[CR_MODULES])
{
    bool found[CR_MODULES] = {false};
    for (size_t i = 0; i < names->count; i++) {
        enum cr_module module;
        if (strcmp(names->items[i], "all-linear") == 0) {
            for (size_t m = 0; m < CR_MODULES; m++) found[m] = true;
        } else if (cr_module_find(names->items[i], &module)) {
            found[module] = true;
        } else {
            char known[256] = "";
            for (size_t m = 0, at = 0; m < CR_MODULES && at < sizeof known; m++)
                at += (size_t)snprintf(known + at, sizeof known - at, "%s%s", m > 0 ? ", " : "",
                                       cr_module_name((enum cr_module)m));
            return cr_fail(CR_INVALID,
                           "target_modules: \"%.100s\": no such linear module (known: %s, or all-linear)",
                           names->items[i], known);
        }
    }
    memcpy(targets, found, sizeof found);
    return CR_OK;
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

enum cr_status cr_lora_places(const struct cr_lora_config *config, const struct cr_model_config *model,
                              struct cr_lora_place **out, size_t *count)
{
    bool targets[CR_MODULES];
    CR_TRY(cr_lora_targets(&config->target_modules, targets));
    CR_FREE bool *chosen = NULL;
    CR_TRY(chosen_layers(&config->layers_to_transform, model->layers, &chosen));
    CR_FREE struct cr_lora_place *places = NULL;
    CR_TRY(cr_allocate(model->layers * CR_MODULES, sizeof *places, &places));
    size_t found = 0;
    for (size_t layer = 0; layer < model->layers; layer++)
        for (size_t m = 0; m < CR_MODULES; m++)
            if (chosen[layer] && targets[m])
                places[found++] = (struct cr_lora_place){layer, (enum cr_module)m};
    if (found == 0) return cr_fail(CR_INVALID, "target_modules: empty: nothing would be adapted");
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
        enum cr_module module = places[i].module;
        size_t out, in;
        cr_module_shape(model, module, &out, &in);
        for (char matrix = 'A'; matrix <= 'B'; matrix++) {
            char name[128];
            snprintf(name, sizeof name, "base_model.model.model.layers.%zu.%s.%s.lora_%c.weight",
                     places[i].layer, module <= CR_O ? "self_attn" : "mlp", cr_module_name(module), matrix);
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
