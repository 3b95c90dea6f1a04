#include "model/weights.h"

#include "tensor/ops.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static size_t per_layer(const struct cr_model_config *config)
{
    size_t biases = config->qkv_bias ? 3 : 0, head_norms = config->head_norms ? 2 : 0;
    return CR_MODULES + biases + head_norms + 2;
}

// The parameter of this kind in a layer that has it; `module` is looked at for modules and biases.
static struct cr_model_parameter *in_layer(const struct cr_model *model, size_t layer,
                                           enum cr_parameter_kind kind, enum cr_module module)
{
    bool of_module = kind == CR_PARAMETER_MODULE || kind == CR_PARAMETER_BIAS;
    struct cr_model_parameter *parameter = &model->parameters[1 + layer * per_layer(&model->config)];
    while (parameter->kind != kind || (of_module && parameter->module != module)) parameter++;
    return parameter;
}

static enum cr_status add(struct cr_model *model, struct cr_model_parameter parameter, const char *prefix,
                          const char *name)
{
    CR_CLEANUP(cr_buffer_release) struct cr_buffer text = {0};
    if (prefix) {
        CR_TRY(cr_append_format(&text, "model.layers.%zu.%s", parameter.layer, prefix));
    }
    const char *suffix = parameter.kind == CR_PARAMETER_BIAS ? "bias" : "weight";
    CR_TRY(cr_append_format(&text, "%s.%s", name, suffix));
    CR_TRY(cr_copy_string(cr_buffer_text(&text), &parameter.name));
    model->parameters[model->parameter_count++] = parameter;
    return CR_OK;
}

static enum cr_status add_head_norms(struct cr_model *model, size_t layer)
{
    struct cr_model_parameter norm = {
        .kind = CR_PARAMETER_Q_NORM, .layer = layer, .rows = model->config.head_dim};
    CR_TRY(add(model, norm, "self_attn.", "q_norm"));
    norm.kind = CR_PARAMETER_K_NORM;
    return add(model, norm, "self_attn.", "k_norm");
}

static enum cr_status add_layer(struct cr_model *model, size_t layer)
{
    for (enum cr_module module = 0; module < CR_MODULES; module++) {
        struct cr_model_parameter parameter = {.kind = CR_PARAMETER_MODULE, .layer = layer, .module = module};
        cr_module_shape(&model->config, module, &parameter.rows, &parameter.columns);
        CR_TRY(add(model, parameter, module <= CR_O ? "self_attn." : "mlp.", cr_module_name(module)));
        if (module <= CR_V && model->config.qkv_bias) {
            parameter.kind = CR_PARAMETER_BIAS;
            parameter.columns = 0;
            CR_TRY(add(model, parameter, "self_attn.", cr_module_name(module)));
        }
        if (module == CR_O && model->config.head_norms) CR_TRY(add_head_norms(model, layer));
    }
    struct cr_model_parameter norm = {
        .kind = CR_PARAMETER_NORM1, .layer = layer, .rows = model->config.hidden};
    CR_TRY(add(model, norm, "", "input_layernorm"));
    norm.kind = CR_PARAMETER_NORM2;
    return add(model, norm, "", "post_attention_layernorm");
}

enum cr_status cr_weights_list(struct cr_model *model)
{
    const struct cr_model_config *config = &model->config;
    CR_TRY(
        cr_allocate(3 + config->layers * per_layer(config), sizeof *model->parameters, &model->parameters));
    struct cr_model_parameter table = {
        .kind = CR_PARAMETER_EMBEDDING, .rows = config->vocabulary, .columns = config->hidden};
    CR_TRY(add(model, table, NULL, "model.embed_tokens"));
    for (size_t layer = 0; layer < config->layers; layer++) CR_TRY(add_layer(model, layer));
    struct cr_model_parameter norm = {.kind = CR_PARAMETER_NORM, .rows = config->hidden};
    CR_TRY(add(model, norm, NULL, "model.norm"));
    if (config->tied_head) return CR_OK;
    table.kind = CR_PARAMETER_HEAD;
    return add(model, table, NULL, "lm_head");
}

static enum cr_status check_parameter(const struct cr_model *model,
                                      const struct cr_model_parameter *parameter)
{
    const char *file = cr_safetensors_name(model->weights);
    const struct cr_tensor_entry *entry = cr_safetensors_find(model->weights, parameter->name);
    if (!entry) return cr_fail(CR_INVALID, "%s: tensor %s is missing", file, parameter->name);
    if (entry->dtype != CR_F32 && entry->dtype != CR_F16 && entry->dtype != CR_BF16)
        return cr_fail(CR_UNSUPPORTED, "%s: tensor %s: only F32, F16 and BF16 weights are supported", file,
                       parameter->name);
    size_t rank = parameter->columns ? 2 : 1;
    if (entry->rank == rank && entry->shape[0] == parameter->rows &&
        (rank == 1 || entry->shape[1] == parameter->columns))
        return CR_OK;
    CR_CLEANUP(cr_buffer_release) struct cr_buffer shape = {0};
    for (size_t i = 0; i < entry->rank; i++)
        CR_TRY(cr_append_format(&shape, "%s%zu", i ? ", " : "", entry->shape[i]));
    if (rank == 1)
        return cr_fail(CR_INVALID, "%s: tensor %s has shape [%s], config.json says [%zu]", file,
                       parameter->name, cr_buffer_text(&shape), parameter->rows);
    return cr_fail(CR_INVALID, "%s: tensor %s has shape [%s], config.json says [%zu, %zu]", file,
                   parameter->name, cr_buffer_text(&shape), parameter->rows, parameter->columns);
}

// Old checkpoints hold the rotation's frequencies, which follow from the configuration, and some hold a copy
// of a tied head, which Transformers ignores too.
static bool harmless(const struct cr_model *model, const char *name)
{
    static const char buffer[] = ".rotary_emb.inv_freq";
    size_t length = strlen(name);
    if (length >= sizeof buffer - 1 && strcmp(name + length - (sizeof buffer - 1), buffer) == 0) return true;
    return model->config.tied_head && strcmp(name, "lm_head.weight") == 0;
}

enum cr_status cr_weights_check(const struct cr_model *model)
{
    for (size_t i = 0; i < model->parameter_count; i++) CR_TRY(check_parameter(model, &model->parameters[i]));
    for (size_t i = 0; i < cr_safetensors_count(model->weights); i++) {
        const char *name = cr_safetensors_at(model->weights, i)->name;
        if (!cr_model_find(model, name) && !harmless(model, name))
            return cr_fail(CR_INVALID, "%s: tensor %s has no place in this model",
                           cr_safetensors_name(model->weights), name);
    }
    return CR_OK;
}

// Where `count` parameters lie in the checkpoint one after the other as the products want them, else NULL.
static const unsigned char *mapped(const struct cr_model *model, struct cr_model_parameter *const *parts,
                                   size_t count)
{
    if (!model->weights || model->writable) return NULL;
    const unsigned char *start = NULL, *end = NULL;
    for (size_t i = 0; i < count; i++) {
        const struct cr_tensor_entry *entry = cr_safetensors_find(model->weights, parts[i]->name);
        if (entry->dtype != model->act) return NULL;
        if (!start)
            start = entry->bytes.data;
        else if (entry->bytes.data != end)
            return NULL;
        end = entry->bytes.data + entry->bytes.size;
    }
    return (uintptr_t)start % cr_dtype_size(model->act) == 0 ? start : NULL;
}

// One block for `count` matrices of equal width: in the mapping, or in model->memory.
static struct cr_matrix place(struct cr_model *model, struct cr_model_parameter *const *parts, size_t count)
{
    size_t rows = 0, columns = parts[0]->columns;
    for (size_t i = 0; i < count; i++) rows += parts[i]->rows;
    void *data;
    const unsigned char *in_file = mapped(model, parts, count);
    if (in_file)
        memcpy(&data, &in_file, sizeof data); // a matrix has no const form; nobody writes to it
    else
        data = cr_arena_take(&model->memory, rows * columns, cr_dtype_size(model->act));
    struct cr_matrix block = cr_matrix_of(data, model->act, rows, columns);
    if (!data) return block;
    for (size_t i = 0, at = 0; i < count; at += parts[i++]->rows)
        parts[i]->place = cr_matrix_rows(block, at, parts[i]->rows);
    return block;
}

static float *place_norm(struct cr_model *model, struct cr_model_parameter *norm)
{
    float *data = cr_arena_take(&model->memory, norm->rows, sizeof *data);
    norm->place = cr_matrix_of(data, CR_F32, 1, norm->rows);
    return data;
}

// The biases of q, k and v one after the other.
static const float *place_biases(struct cr_model *model, size_t layer)
{
    if (!model->config.qkv_bias) return NULL;
    struct cr_model_parameter *parts[3];
    size_t count = 0, at = 0;
    for (size_t i = 0; i < 3; i++) {
        parts[i] = in_layer(model, layer, CR_PARAMETER_BIAS, CR_Q + (enum cr_module)i);
        count += parts[i]->rows;
    }
    float *data = cr_arena_take(&model->memory, count, sizeof *data);
    if (!data) return NULL;
    for (size_t i = 0; i < 3; at += parts[i++]->rows)
        parts[i]->place = cr_matrix_of(data + at, CR_F32, 1, parts[i]->rows);
    return data;
}

// The linear of `count` modules from `first`.
static void place_linear(struct cr_model *model, size_t layer, enum cr_module first, size_t count,
                         const float *bias, struct cr_linear *out)
{
    struct cr_model_parameter *parts[3];
    for (size_t i = 0; i < count; i++)
        parts[i] = in_layer(model, layer, CR_PARAMETER_MODULE, first + (enum cr_module)i);
    cr_linear_local_init(model->compute, place(model, parts, count), bias, out);
}

static void place_layer(struct cr_model *model, size_t i)
{
    struct cr_layer *layer = &model->layers[i];
    place_linear(model, i, CR_Q, 3, place_biases(model, i), &layer->qkv);
    place_linear(model, i, CR_O, 1, NULL, &layer->o);
    place_linear(model, i, CR_GATE, 2, NULL, &layer->gate_up);
    place_linear(model, i, CR_DOWN, 1, NULL, &layer->down);
    layer->norm1 = place_norm(model, in_layer(model, i, CR_PARAMETER_NORM1, 0));
    layer->norm2 = place_norm(model, in_layer(model, i, CR_PARAMETER_NORM2, 0));
    if (!model->config.head_norms) return;
    layer->q_norm = place_norm(model, in_layer(model, i, CR_PARAMETER_Q_NORM, 0));
    layer->k_norm = place_norm(model, in_layer(model, i, CR_PARAMETER_K_NORM, 0));
}

// Run twice: model->memory counts, then hands out.
static void place_all(struct cr_model *model)
{
    struct cr_model_parameter *table = model->parameters;
    model->embedding = place(model, &table, 1);
    for (size_t i = 0; i < model->config.layers; i++) place_layer(model, i);
    struct cr_model_parameter *norm = table + 1 + model->config.layers * per_layer(&model->config);
    model->norm = place_norm(model, norm);
    struct cr_model_parameter *head = norm + 1;
    cr_linear_local_init(model->compute, model->config.tied_head ? model->embedding : place(model, &head, 1),
                         NULL, &model->head);
}

// Pages of the mapping that were copied need not stay: the weight would be in memory twice.
static void drop_pages(const unsigned char *data, size_t size)
{
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    uintptr_t start = ((uintptr_t)data + page - 1) / page * page;
    uintptr_t end = ((uintptr_t)data + size) / page * page;
    void *address;
    memcpy(&address, &start, sizeof address);
    if (end > start) (void)madvise(address, end - start, MADV_DONTNEED); // a hint; failing costs only memory
}

// Converts an entry in pieces by way of `piece`, which is aligned where the file may not be.
enum { PIECE = 1 << 18 }; // elements
static void fill(struct cr_model *model, const struct cr_tensor_entry *entry, struct cr_matrix to,
                 void *piece)
{
    size_t count = to.rows * to.columns, from_size = cr_dtype_size(entry->dtype);
    for (size_t at = 0; at < count; at += PIECE) {
        size_t n = count - at < PIECE ? count - at : PIECE;
        const unsigned char *from = entry->bytes.data + at * from_size;
        memcpy(piece, from, n * from_size);
        cr_convert(model->compute, piece, entry->dtype,
                   (unsigned char *)to.data + at * cr_dtype_size(to.dtype), to.dtype, n);
        drop_pages(from, n * from_size);
    }
}

static enum cr_status fill_all(struct cr_model *model)
{
    CR_FREE float *piece = NULL;
    CR_TRY(cr_allocate(PIECE, sizeof *piece, &piece));
    for (size_t i = 0; i < model->parameter_count; i++) {
        struct cr_model_parameter *parameter = &model->parameters[i];
        const struct cr_tensor_entry *entry = cr_safetensors_find(model->weights, parameter->name);
        if (parameter->place.data != (const void *)entry->bytes.data)
            fill(model, entry, parameter->place, piece);
    }
    return CR_OK;
}

static void fill_norms_with_ones(struct cr_model *model)
{
    for (size_t i = 0; i < model->parameter_count; i++) {
        struct cr_matrix place_of = model->parameters[i].place;
        float *values = place_of.data;
        if (model->parameters[i].columns == 0 && model->parameters[i].kind != CR_PARAMETER_BIAS)
            for (size_t j = 0; j < place_of.columns; j++) values[j] = 1;
    }
}

enum cr_status cr_weights_place(struct cr_model *model)
{
    place_all(model);
    CR_TRY(cr_arena_commit(&model->memory));
    place_all(model);
    if (model->weights) return fill_all(model);
    fill_norms_with_ones(model);
    return CR_OK;
}
