#include "tuning/lora.h"

#include <math.h>
#include <stdio.h>

double cr_lora_scale(const struct cr_lora_config *config)
{
    double r = (double)config->r;
    return config->lora_alpha / (config->use_rslora ? sqrt(r) : r);
}

const char *const *cr_lora_targets(const struct cr_lora_config *config, const struct cr_model_config *model,
                                   size_t *count)
{
    static const char *const llama[] = {"q_proj", "v_proj"}, *const gpt2[] = {"c_attn"};
    bool fused = model->layout == CR_LAYOUT_GPT2;
    *count = config->targets.modules.count;
    if (*count > 0) return (const char *const *)config->targets.modules.items;
    *count = fused ? sizeof gpt2 / sizeof *gpt2 : sizeof llama / sizeof *llama;
    return fused ? gpt2 : llama;
}

enum cr_status cr_lora_places(const struct cr_lora_config *config, const struct cr_model_config *model,
                              struct cr_module_place **out, size_t *count)
{
    size_t targets;
    const char *const *names = cr_lora_targets(config, model, &targets);
    return cr_module_places("lora.", names, targets, &config->targets.layers, model, out, count);
}

size_t cr_lora_sharing(const struct cr_module_place *places, size_t count)
{
    size_t n = 1;
    while (n < count && places[n].layer == places->layer &&
           cr_modules_share(places[n].module, places->module))
        n++;
    return n;
}

static enum cr_status add_matrix(const struct cr_lora_config *config, const struct cr_model_config *model,
                                 struct cr_module_place place, char matrix, struct cr_parameters *parameters)
{
    size_t out, in;
    char at[CR_PLACE_NAME_SIZE], name[160];
    cr_module_shape(model, place.module, &out, &in);
    (void)cr_module_place_name(model, place, at); // a place of the model has a name
    snprintf(name, sizeof name, "base_model.model.%s.lora_%c.weight", at, matrix);
    return cr_parameters_add(parameters, name, matrix == 'A' ? config->r : out,
                             matrix == 'A' ? in : config->r);
}

enum cr_status cr_lora_parameters(const struct cr_lora_config *config, const struct cr_model_config *model,
                                  const struct cr_module_place *places, size_t count,
                                  struct cr_parameters *parameters)
{
    for (size_t i = 0, n; i < count; i += n) {
        n = cr_lora_sharing(places + i, count - i);
        for (size_t j = 0; j < n; j++) CR_TRY(add_matrix(config, model, places[i + j], 'A', parameters));
        for (size_t j = 0; j < n; j++) CR_TRY(add_matrix(config, model, places[i + j], 'B', parameters));
    }
    return CR_OK;
}
