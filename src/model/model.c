#include "model/model.h"

#include "model/weights.h"
#include "tensor/ops.h"

#include <stdlib.h>
#include <string.h>

const char *cr_module_path(const struct cr_model_config *config, enum cr_module module)
{
    static const char *const paths[][CR_MODULES] = {
        [CR_LAYOUT_LLAMA] = {[CR_Q] = "self_attn.q_proj",
                             [CR_K] = "self_attn.k_proj",
                             [CR_V] = "self_attn.v_proj",
                             [CR_O] = "self_attn.o_proj",
                             [CR_GATE] = "mlp.gate_proj",
                             [CR_UP] = "mlp.up_proj",
                             [CR_DOWN] = "mlp.down_proj"},
        [CR_LAYOUT_GPT2] = {[CR_QKV] = "attn.c_attn",
                            [CR_O] = "attn.c_proj",
                            [CR_UP] = "mlp.c_fc",
                            [CR_DOWN] = "mlp.c_proj"},
    };
    return paths[config->layout][module];
}

const char *cr_module_name(const struct cr_model_config *config, enum cr_module module)
{
    const char *path = cr_module_path(config, module);
    return path ? strchr(path, '.') + 1 : NULL;
}

const char *cr_layers_path(enum cr_layout layout)
{
    return layout == CR_LAYOUT_GPT2 ? "transformer.h" : "model.layers";
}

struct cr_modules cr_qkv_modules(const struct cr_model_config *config)
{
    return config->layout == CR_LAYOUT_GPT2 ? (struct cr_modules){CR_QKV, 1} : (struct cr_modules){CR_Q, 3};
}

struct cr_modules cr_gate_up_modules(const struct cr_model_config *config)
{
    return config->gelu ? (struct cr_modules){CR_UP, 1} : (struct cr_modules){CR_GATE, 2};
}

// Which of a layer's linears contains the module.
static int linear_of(enum cr_module module)
{
    return module <= CR_V ? 0 : module == CR_O ? 1 : module <= CR_UP ? 2 : 3;
}

bool cr_modules_share(enum cr_module a, enum cr_module b)
{
    return linear_of(a) == linear_of(b);
}

bool cr_module_has_bias(const struct cr_model_config *config, enum cr_module module)
{
    return module <= CR_V ? config->qkv_bias : module == CR_O ? config->o_bias : config->mlp_bias;
}

void cr_module_shape(const struct cr_model_config *config, enum cr_module module, size_t *out, size_t *in)
{
    size_t q = config->heads * config->head_dim, kv = config->kv_heads * config->head_dim;
    const size_t shapes[CR_MODULES][2] = {
        [CR_QKV] = {q + 2 * kv, config->hidden},
        [CR_Q] = {q, config->hidden},
        [CR_K] = {kv, config->hidden},
        [CR_V] = {kv, config->hidden},
        [CR_O] = {config->hidden, q},
        [CR_GATE] = {config->intermediate, config->hidden},
        [CR_UP] = {config->intermediate, config->hidden},
        [CR_DOWN] = {config->hidden, config->intermediate},
    };
    *out = shapes[module][0];
    *in = shapes[module][1];
}

static struct cr_model_part all_of(const struct cr_model_config *config)
{
    return (struct cr_model_part){.last = config->layers, .embedding = true, .head = true};
}

bool cr_model_part_has(const struct cr_model_part *part, const struct cr_model_config *config,
                       const struct cr_model_parameter *parameter)
{
    switch (parameter->kind) {
    case CR_PARAMETER_EMBEDDING:
        return part->embedding || (part->head && config->tied_head);
    case CR_PARAMETER_POSITION:
        return part->embedding;
    case CR_PARAMETER_NORM:
    case CR_PARAMETER_NORM_BIAS:
    case CR_PARAMETER_HEAD:
        return part->head;
    default:
        return parameter->layer >= part->first && parameter->layer < part->last;
    }
}

// Sets up what needs no weights. The checkpoint is checked before memory for the weights is allocated, so
// that a config.json alone cannot make carrel allocate it.
static enum cr_status begin(const struct cr_model_config *config, const struct cr_model_part *part,
                            struct cr_compute *compute, enum cr_dtype act, enum cr_model_form form,
                            struct cr_model **out)
{
    if (act != CR_F32 && act != CR_BF16)
        return cr_fail(CR_INTERNAL, "a model computes in float32 or bfloat16 only");
    if (act == CR_BF16 && !cr_compute_has_bf16(compute))
        return cr_fail(CR_UNSUPPORTED, "this processor has no bfloat16 products (use float32)");
    CR_CLEANUP(cr_model_release) struct cr_model *model = NULL;
    CR_TRY(cr_allocate(1, sizeof *model, &model));
    model->config = *config;
    model->part = *part;
    model->compute = compute;
    model->act = act;
    model->writable = form == CR_MODEL_TRAINABLE;
    model->in_8bit = form == CR_MODEL_IN_8BIT;
    model->outside = form == CR_MODEL_OUTSIDE;
    CR_TRY(cr_allocate(config->layers, sizeof *model->layers, &model->layers));
    CR_TRY(cr_weights_list(model));
    *out = model;
    model = NULL;
    return CR_OK;
}

enum cr_status cr_model_open(const char *directory, enum cr_model_form form, const struct cr_model_part *part,
                             struct cr_compute *compute, enum cr_dtype act, struct cr_model **out)
{
    struct cr_model_config config;
    CR_TRY(cr_model_config_read(directory, &config));
    const struct cr_model_part all = all_of(&config);
    CR_CLEANUP(cr_model_release) struct cr_model *model = NULL;
    CR_TRY(begin(&config, part ? part : &all, compute, act, form, &model));
    CR_TRY(cr_safetensors_open(directory, &model->weights));
    CR_TRY(cr_weights_check(model));
    if (form == CR_MODEL_SHAPE)
        cr_weights_measure(model);
    else
        CR_TRY(cr_weights_place(model));
    *out = model;
    model = NULL;
    return CR_OK;
}

enum cr_status cr_model_create(const struct cr_model_config *config, struct cr_compute *compute,
                               enum cr_dtype act, struct cr_model **out)
{
    const struct cr_model_part all = all_of(config);
    CR_CLEANUP(cr_model_release) struct cr_model *model = NULL;
    CR_TRY(begin(config, &all, compute, act, CR_MODEL_TRAINABLE, &model));
    CR_TRY(cr_weights_place(model));
    *out = model;
    model = NULL;
    return CR_OK;
}

static void release_linear(struct cr_linear *linear)
{
    if (linear->provider) linear->provider->release(linear);
}

void cr_model_free(struct cr_model *model)
{
    if (!model) return;
    for (size_t i = 0; model->layers && i < model->config.layers; i++) {
        release_linear(&model->layers[i].qkv);
        release_linear(&model->layers[i].o);
        release_linear(&model->layers[i].gate_up);
        release_linear(&model->layers[i].down);
    }
    release_linear(&model->head);
    for (size_t i = 0; i < model->parameter_count; i++) free(model->parameters[i].name);
    free(model->parameters);
    free(model->layers);
    // Trained weights may be secret; a checkpoint's copies are not, and cost time to wipe.
    if (model->writable) cr_wipe(model->memory.base, model->memory.size);
    cr_arena_release(&model->memory);
    cr_safetensors_free(model->weights);
    free(model);
}

void cr_model_release(struct cr_model **model)
{
    cr_model_free(*model);
    *model = NULL;
}

static size_t value_count(const struct cr_model_parameter *parameter)
{
    return parameter->place.rows * parameter->place.columns;
}

void cr_model_get(const struct cr_model *model, size_t i, float *values)
{
    const struct cr_model_parameter *parameter = &model->parameters[i];
    const struct cr_matrix *place = &parameter->place;
    if (place->dtype != CR_I8) {
        cr_convert(model->compute, place->data, place->dtype, values, CR_F32, value_count(parameter));
        return;
    }
    for (size_t row = 0; row < place->rows; row++) {
        const int8_t *q = (const int8_t *)place->data + row * place->stride;
        for (size_t j = 0; j < place->columns; j++)
            values[row * place->columns + j] = place->scale[row] * (float)q[j];
    }
}

enum cr_status cr_model_set(struct cr_model *model, size_t i, const float *values)
{
    const struct cr_model_parameter *parameter = &model->parameters[i];
    if (!model->writable)
        return cr_fail(CR_INVALID, "%s cannot be set: the model was not opened for training",
                       parameter->name);
    cr_convert(model->compute, values, CR_F32, parameter->place.data, parameter->place.dtype,
               value_count(parameter));
    return CR_OK;
}

float **cr_tuned_gradient(struct cr_tuned *tuned, const struct cr_model_parameter *parameter)
{
    struct cr_layer_tuning *layer = tuned->layers ? &tuned->layers[parameter->layer] : NULL;
    switch (parameter->kind) {
    case CR_PARAMETER_EMBEDDING:
        return &tuned->embedding_gradient;
    case CR_PARAMETER_POSITION:
        return &tuned->position_gradient;
    case CR_PARAMETER_BIAS:
        return &layer->bias_gradient[parameter->module];
    case CR_PARAMETER_Q_NORM:
        return &layer->q_norm_gradient;
    case CR_PARAMETER_K_NORM:
        return &layer->k_norm_gradient;
    case CR_PARAMETER_NORM1:
        return &layer->norm1_gradient;
    case CR_PARAMETER_NORM1_BIAS:
        return &layer->norm1_bias_gradient;
    case CR_PARAMETER_NORM2:
        return &layer->norm2_gradient;
    case CR_PARAMETER_NORM2_BIAS:
        return &layer->norm2_bias_gradient;
    case CR_PARAMETER_NORM:
        return &tuned->norm_gradient;
    case CR_PARAMETER_NORM_BIAS:
        return &tuned->norm_bias_gradient;
    case CR_PARAMETER_HEAD:
        return &tuned->head_gradient;
    case CR_PARAMETER_MODULE:
        break;
    }
    return NULL;
}

bool cr_parameter_is_bias(const struct cr_model_parameter *parameter)
{
    return parameter->kind == CR_PARAMETER_BIAS || parameter->kind == CR_PARAMETER_NORM1_BIAS ||
           parameter->kind == CR_PARAMETER_NORM2_BIAS || parameter->kind == CR_PARAMETER_NORM_BIAS;
}

const struct cr_model_parameter *cr_model_find(const struct cr_model *model, const char *name)
{
    for (size_t i = 0; i < model->parameter_count; i++)
        if (strcmp(model->parameters[i].name, name) == 0) return &model->parameters[i];
    return NULL;
}

enum cr_status cr_model_fail_nonfinite(const struct cr_model *model, const char *what, const char *otherwise)
{
    size_t most = 0;
    for (size_t i = 0; i < model->parameter_count; i++)
        if (value_count(&model->parameters[i]) > most) most = value_count(&model->parameters[i]);
    CR_FREE float *values = NULL;
    CR_TRY(cr_allocate(most, sizeof *values, &values));
    for (size_t i = 0; i < model->parameter_count; i++) {
        if (!model->parameters[i].place.data) continue; // was checked when it was quantised
        cr_model_get(model, i, values);
        if (!cr_all_finite(model->compute, values, value_count(&model->parameters[i])))
            return cr_fail(CR_INVALID, "%s is NaN or infinite: the model's %s holds such values", what,
                           model->parameters[i].name);
    }
    return cr_fail(CR_INVALID, "%s is NaN or infinite%s", what, otherwise);
}
