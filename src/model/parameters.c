// Which tensors a model has, by name and shape, and whether a checkpoint has them.
#include "base/mapping.h"
#include "base/parse.h"
#include "model/weights.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

// One tensor of a layer, in the order of Transformers' named_parameters.
struct item {
    enum cr_parameter_kind kind;
    enum cr_module module; // of modules and biases
    const char *name;
};
static const struct item llama_layer[] = {
    {CR_PARAMETER_MODULE, CR_Q, NULL},
    {CR_PARAMETER_BIAS, CR_Q, NULL},
    {CR_PARAMETER_MODULE, CR_K, NULL},
    {CR_PARAMETER_BIAS, CR_K, NULL},
    {CR_PARAMETER_MODULE, CR_V, NULL},
    {CR_PARAMETER_BIAS, CR_V, NULL},
    {CR_PARAMETER_MODULE, CR_O, NULL},
    {CR_PARAMETER_BIAS, CR_O, NULL},
    {CR_PARAMETER_Q_NORM, 0, "self_attn.q_norm.weight"},
    {CR_PARAMETER_K_NORM, 0, "self_attn.k_norm.weight"},
    {CR_PARAMETER_MODULE, CR_GATE, NULL},
    {CR_PARAMETER_BIAS, CR_GATE, NULL},
    {CR_PARAMETER_MODULE, CR_UP, NULL},
    {CR_PARAMETER_BIAS, CR_UP, NULL},
    {CR_PARAMETER_MODULE, CR_DOWN, NULL},
    {CR_PARAMETER_BIAS, CR_DOWN, NULL},
    {CR_PARAMETER_NORM1, 0, "input_layernorm.weight"},
    {CR_PARAMETER_NORM2, 0, "post_attention_layernorm.weight"},
};
static const struct item gpt2_layer[] = {
    {CR_PARAMETER_NORM1, 0, "ln_1.weight"}, {CR_PARAMETER_NORM1_BIAS, 0, "ln_1.bias"},
    {CR_PARAMETER_MODULE, CR_QKV, NULL},    {CR_PARAMETER_BIAS, CR_QKV, NULL},
    {CR_PARAMETER_MODULE, CR_O, NULL},      {CR_PARAMETER_BIAS, CR_O, NULL},
    {CR_PARAMETER_NORM2, 0, "ln_2.weight"}, {CR_PARAMETER_NORM2_BIAS, 0, "ln_2.bias"},
    {CR_PARAMETER_MODULE, CR_UP, NULL},     {CR_PARAMETER_BIAS, CR_UP, NULL},
    {CR_PARAMETER_MODULE, CR_DOWN, NULL},   {CR_PARAMETER_BIAS, CR_DOWN, NULL},
};

// The tensors outside the layers.
struct ends {
    const char *embedding, *positions, *norm, *norm_bias;
};
static const struct ends llama_ends = {"model.embed_tokens.weight", NULL, "model.norm.weight", NULL};
static const struct ends gpt2_ends = {"transformer.wte.weight", "transformer.wpe.weight",
                                      "transformer.ln_f.weight", "transformer.ln_f.bias"};

static const char head_name[] = "lm_head.weight";

static bool has_item(const struct cr_model_config *config, const struct item *item)
{
    if (item->kind == CR_PARAMETER_BIAS) return cr_module_has_bias(config, item->module);
    if (item->kind == CR_PARAMETER_Q_NORM || item->kind == CR_PARAMETER_K_NORM) return config->head_norms;
    return true;
}

// Appends a parameter; its name is made from `format`.
static enum cr_status add(struct cr_model *model, struct cr_model_parameter parameter, const char *format,
                          ...) CR_PRINTF(3, 4);
static enum cr_status add(struct cr_model *model, struct cr_model_parameter parameter, const char *format,
                          ...)
{
    va_list arguments;
    va_start(arguments, format);
    int size = vasprintf(&parameter.name, format, arguments);
    va_end(arguments);
    if (size < 0) return cr_fail(CR_NO_MEMORY, "out of memory: a tensor's name");
    model->parameters[model->parameter_count++] = parameter;
    return CR_OK;
}

static enum cr_status add_item(struct cr_model *model, size_t layer, const struct item *item)
{
    const struct cr_model_config *config = &model->config;
    struct cr_model_parameter parameter = {
        .kind = item->kind, .layer = layer, .module = item->module, .rows = config->hidden};
    const char *layers = cr_layers_path(config->layout);
    if (item->name) {
        if (item->kind == CR_PARAMETER_Q_NORM || item->kind == CR_PARAMETER_K_NORM)
            parameter.rows = config->head_dim;
        return add(model, parameter, "%s.%zu.%s", layers, layer, item->name);
    }
    bool bias = item->kind == CR_PARAMETER_BIAS;
    cr_module_shape(config, item->module, &parameter.rows, &parameter.columns);
    if (bias) parameter.columns = 0;
    parameter.transposed = !bias && config->layout == CR_LAYOUT_GPT2;
    return add(model, parameter, "%s.%zu.%s.%s", layers, layer, cr_module_path(config, item->module),
               bias ? "bias" : "weight");
}

enum cr_status cr_weights_list(struct cr_model *model)
{
    const struct cr_model_config *config = &model->config;
    bool gpt2 = config->layout == CR_LAYOUT_GPT2;
    const struct ends *ends = gpt2 ? &gpt2_ends : &llama_ends;
    const struct item *items = gpt2 ? gpt2_layer : llama_layer;
    size_t count = gpt2 ? sizeof gpt2_layer / sizeof *gpt2_layer : sizeof llama_layer / sizeof *llama_layer;
    CR_TRY(cr_allocate(5 + config->layers * count, sizeof *model->parameters, &model->parameters));
    struct cr_model_parameter table = {
        .kind = CR_PARAMETER_EMBEDDING, .rows = config->vocabulary, .columns = config->hidden};
    table.tied = config->tied_head;
    CR_TRY(add(model, table, "%s", ends->embedding));
    if (config->learned_positions) {
        struct cr_model_parameter positions = {
            .kind = CR_PARAMETER_POSITION, .rows = config->context, .columns = config->hidden};
        CR_TRY(add(model, positions, "%s", ends->positions));
    }
    for (size_t layer = 0; layer < config->layers; layer++)
        for (size_t i = 0; i < count; i++)
            if (has_item(config, &items[i])) CR_TRY(add_item(model, layer, &items[i]));
    struct cr_model_parameter norm = {.kind = CR_PARAMETER_NORM, .rows = config->hidden};
    CR_TRY(add(model, norm, "%s", ends->norm));
    norm.kind = CR_PARAMETER_NORM_BIAS;
    if (config->layer_norm) CR_TRY(add(model, norm, "%s", ends->norm_bias));
    if (config->tied_head) return CR_OK;
    table.kind = CR_PARAMETER_HEAD;
    return add(model, table, "%s", head_name);
}

const struct cr_tensor_entry *cr_parameter_entry(const struct cr_model_parameter *parameter,
                                                 const struct cr_safetensors *file)
{
    static const char prefix[] = "transformer.";
    const struct cr_tensor_entry *entry = cr_safetensors_find(file, parameter->name);
    if (!entry && strncmp(parameter->name, prefix, sizeof prefix - 1) == 0)
        entry = cr_safetensors_find(file, parameter->name + sizeof prefix - 1);
    return entry || !parameter->tied ? entry : cr_safetensors_find(file, head_name);
}

static enum cr_status check_parameter(const struct cr_model *model,
                                      const struct cr_model_parameter *parameter)
{
    const char *file = cr_safetensors_name(model->weights);
    const struct cr_tensor_entry *entry = cr_parameter_entry(parameter, model->weights);
    if (!entry && !cr_model_part_has(&model->part, &model->config, parameter)) return CR_OK;
    if (!entry) return cr_fail(CR_INVALID, "%s: tensor %s is missing", file, parameter->name);
    if (!cr_dtype_of_weights(entry->dtype))
        return cr_fail(CR_UNSUPPORTED, "%s: tensor %s: only F32, F16 and BF16 weights are supported, not %s",
                       file, parameter->name, cr_dtype_name(entry->dtype));
    size_t rank = parameter->columns ? 2 : 1, rows = parameter->rows, columns = parameter->columns;
    if (parameter->transposed) {
        rows = parameter->columns;
        columns = parameter->rows;
    }
    if (entry->rank == rank && entry->shape[0] == rows && (rank == 1 || entry->shape[1] == columns))
        return CR_OK;
    CR_CLEANUP(cr_buffer_release) struct cr_buffer shape = {0};
    for (size_t i = 0; i < entry->rank; i++)
        CR_TRY(cr_append_format(&shape, "%s%zu", i ? ", " : "", entry->shape[i]));
    if (rank == 1)
        return cr_fail(CR_INVALID, "%s: tensor %s has shape [%s], config.json says [%zu]", file,
                       parameter->name, cr_buffer_text(&shape), rows);
    return cr_fail(CR_INVALID, "%s: tensor %s has shape [%s], config.json says [%zu, %zu]", file,
                   parameter->name, cr_buffer_text(&shape), rows, columns);
}

// Tensors of old checkpoints that the model does not use because they follow from the configuration (the
// rotation's frequencies, attention's mask; of any type), or because they are a copy of a tied head.
static bool harmless(const struct cr_model *model, const char *name)
{
    if (cr_ends_with(name, ".rotary_emb.inv_freq")) return true;
    if (model->config.layout == CR_LAYOUT_GPT2 &&
        (cr_ends_with(name, ".attn.bias") || cr_ends_with(name, ".attn.masked_bias")))
        return true;
    return model->config.tied_head && strcmp(name, head_name) == 0;
}

// Transformers does not tie a head that differs from the embedding, whatever the configuration says.
static enum cr_status check_tied(const struct cr_model *model)
{
    const struct cr_tensor_entry *head = cr_safetensors_find(model->weights, head_name);
    const struct cr_tensor_entry *embedding = cr_parameter_entry(&model->parameters[0], model->weights);
    if (!model->config.tied_head || !head || !embedding) return CR_OK;
    bool equal = head->dtype == embedding->dtype && cr_slice_equal(head->bytes, embedding->bytes);
    cr_file_drop(head->bytes);
    cr_file_drop(embedding->bytes);
    if (equal) return CR_OK;
    return cr_fail(
        CR_INVALID,
        "%s: %s is not the embedding, though config.json ties them (set tie_word_embeddings: false "
        "to use it, or leave it out of the file)",
        cr_safetensors_name(model->weights), head_name);
}

size_t cr_model_value_count(const struct cr_model *model)
{
    size_t count = 0;
    for (size_t i = 0; i < model->parameter_count; i++)
        count += model->parameters[i].rows * cr_most(model->parameters[i].columns, 1);
    return count;
}

static bool has_place(const struct cr_model *model, const char *name)
{
    if (cr_model_find(model, name)) return true;
    CR_FREE char *whole = NULL; // without "transformer.", as cr_parameter_entry finds it
    return model->config.layout == CR_LAYOUT_GPT2 && asprintf(&whole, "transformer.%s", name) > 0 &&
           cr_model_find(model, whole);
}

enum cr_status cr_weights_check(const struct cr_model *model)
{
    for (size_t i = 0; i < model->parameter_count; i++) CR_TRY(check_parameter(model, &model->parameters[i]));
    for (size_t i = 0; i < cr_safetensors_count(model->weights); i++) {
        const char *name = cr_safetensors_at(model->weights, i)->name;
        if (!harmless(model, name) && !has_place(model, name))
            return cr_fail(CR_INVALID, "%s: tensor %s has no place in this model",
                           cr_safetensors_name(model->weights), name);
    }
    return check_tied(model);
}
