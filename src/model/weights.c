#include "model/weights.h"

#include "tensor/ops.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

// Where the parameters of a layer lie in model->parameters: modules in the order of enum cr_module, then
// norms.
enum { NORM1 = CR_MODULES, NORM2, PER_LAYER };

static struct cr_model_parameter *layer_parameter(const struct cr_model *model, size_t layer, size_t i)
{
    return &model->parameters[1 + layer * PER_LAYER + i];
}

static enum cr_status add(struct cr_model *model, struct cr_model_parameter parameter, const char *prefix,
                          const char *name)
{
    CR_CLEANUP(cr_buffer_release) struct cr_buffer text = {0};
    if (prefix) {
        CR_TRY(cr_append_format(&text, "model.layers.%zu.%s", parameter.layer, prefix));
    }
    CR_TRY(cr_append_format(&text, "%s.weight", name));
    CR_TRY(cr_copy_string(cr_buffer_text(&text), &parameter.name));
    model->parameters[model->parameter_count++] = parameter;
    return CR_OK;
}

static enum cr_status add_layer(struct cr_model *model, size_t layer)
{
    for (enum cr_module module = 0; module < CR_MODULES; module++) {
        struct cr_model_parameter parameter = {.kind = CR_PARAMETER_MODULE, .layer = layer, .module = module};
        cr_module_shape(&model->config, module, &parameter.rows, &parameter.columns);
        CR_TRY(add(model, parameter, module <= CR_O ? "self_attn." : "mlp.", cr_module_name(module)));
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
    CR_TRY(cr_allocate(3 + config->layers * PER_LAYER, sizeof *model->parameters, &model->parameters));
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
static const unsigned char *mapped(const struct cr_model *model, const struct cr_model_parameter *first,
                                   size_t count)
{
    if (!model->weights || model->writable) return NULL;
    const unsigned char *start = NULL, *end = NULL;
    for (size_t i = 0; i < count; i++) {
        const struct cr_tensor_entry *entry = cr_safetensors_find(model->weights, first[i].name);
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
static struct cr_matrix place(struct cr_model *model, struct cr_model_parameter *first, size_t count)
{
    size_t rows = 0, columns = first->columns;
    for (size_t i = 0; i < count; i++) rows += first[i].rows;
    void *data;
    const unsigned char *in_file = mapped(model, first, count);
    if (in_file)
        memcpy(&data, &in_file, sizeof data); // a matrix has no const form; nobody writes to it
    else
        data = cr_arena_take(&model->memory, rows * columns, cr_dtype_size(model->act));
    struct cr_matrix block = cr_matrix_of(data, model->act, rows, columns);
    if (!data) return block;
    for (size_t i = 0, at = 0; i < count; at += first[i++].rows)
        first[i].place = cr_matrix_rows(block, at, first[i].rows);
    return block;
}

static float *place_norm(struct cr_model *model, struct cr_model_parameter *norm)
{
    float *data = cr_arena_take(&model->memory, norm->rows, sizeof *data);
    norm->place = cr_matrix_of(data, CR_F32, 1, norm->rows);
    return data;
}

static void place_linear(struct cr_model *model, struct cr_model_parameter *first, size_t count,
                         struct cr_linear *out)
{
    cr_linear_local_init(model->compute, place(model, first, count), out);
}

// Run twice: model->memory counts, then hands out.
static void place_all(struct cr_model *model)
{
    model->embedding = place(model, &model->parameters[0], 1);
    for (size_t i = 0; i < model->config.layers; i++) {
        struct cr_layer *layer = &model->layers[i];
        place_linear(model, layer_parameter(model, i, CR_Q), 3, &layer->qkv);
        place_linear(model, layer_parameter(model, i, CR_O), 1, &layer->o);
        place_linear(model, layer_parameter(model, i, CR_GATE), 2, &layer->gate_up);
        place_linear(model, layer_parameter(model, i, CR_DOWN), 1, &layer->down);
        layer->norm1 = place_norm(model, layer_parameter(model, i, NORM1));
        layer->norm2 = place_norm(model, layer_parameter(model, i, NORM2));
    }
    struct cr_model_parameter *norm = layer_parameter(model, model->config.layers, 0);
    model->norm = place_norm(model, norm);
    if (model->config.tied_head)
        cr_linear_local_init(model->compute, model->embedding, &model->head);
    else
        place_linear(model, norm + 1, 1, &model->head);
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
        if (model->parameters[i].columns == 0)
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
