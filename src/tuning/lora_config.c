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

enum cr_status cr_lora_parameters(const struct cr_lora_config *config, const struct cr_model_config *model,
                                  const struct cr_module_place *places, size_t count,
                                  struct cr_parameters *parameters)
{
    for (size_t i = 0; i < count; i++) {
        size_t out, in;
        char place[CR_PLACE_NAME_SIZE];
        cr_module_shape(model, places[i].module, &out, &in);
        (void)cr_module_place_name(model, places[i], place); // a place of the model's has one
        for (char matrix = 'A'; matrix <= 'B'; matrix++) {
            char name[160];
            snprintf(name, sizeof name, "base_model.model.%s.lora_%c.weight", place, matrix);
            CR_TRY(cr_parameters_add(parameters, name, matrix == 'A' ? config->r : out,
                                     matrix == 'A' ? in : config->r));
        }
    }
    return CR_OK;
}
