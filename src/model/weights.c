// Where a model's tensors are in memory, and how they get there from a checkpoint.
#include "model/weights.h"

#include "base/mapping.h"
#include "field/quantize.h"
#include "tensor/ops.h"

#include <string.h>

struct cr_model_parameter *cr_weights_parameter(const struct cr_model *model, enum cr_parameter_kind kind,
                                                size_t layer, enum cr_module module)
{
    bool of_module = kind == CR_PARAMETER_MODULE || kind == CR_PARAMETER_BIAS;
    struct cr_model_parameter *parameter = model->parameters;
    while (parameter->kind != kind || parameter->layer != layer || (of_module && parameter->module != module))
        parameter++;
    return parameter;
}

enum cr_dtype cr_parameter_type(const struct cr_model *model, const struct cr_model_parameter *parameter)
{
    if (parameter->columns == 0) return CR_F32;
    bool filed = model->weights && !model->writable;
    return filed && cr_parameter_entry(parameter, model->weights)->dtype == CR_BF16 ? CR_BF16 : model->act;
}

// The common type of matrices that form one block.
static enum cr_dtype type_of(const struct cr_model *model, struct cr_model_parameter *const *parts,
                             size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (cr_parameter_type(model, parts[i]) == model->act) return model->act;
    return CR_BF16;
}

// The address of `count` parameters if they are contiguous in the checkpoint as products need them, else
// NULL.
static const unsigned char *mapped(const struct cr_model *model, struct cr_model_parameter *const *parts,
                                   size_t count, enum cr_dtype dtype)
{
    if (!model->weights || model->writable) return NULL;
    const unsigned char *start = NULL, *end = NULL;
    for (size_t i = 0; i < count; i++) {
        const struct cr_tensor_entry *entry = cr_parameter_entry(parts[i], model->weights);
        if (entry->dtype != dtype || parts[i]->transposed) return NULL;
        if (!start)
            start = entry->bytes.data;
        else if (entry->bytes.data != end)
            return NULL;
        end = entry->bytes.data + entry->bytes.size;
    }
    return (uintptr_t)start % cr_dtype_size(dtype) == 0 ? start : NULL;
}

struct cr_model_parameter *cr_head_parameter(const struct cr_model *model)
{
    return cr_weights_parameter(model, model->config.tied_head ? CR_PARAMETER_EMBEDDING : CR_PARAMETER_HEAD,
                                0, 0);
}

static bool has(const struct cr_model *model, const struct cr_model_parameter *parameter)
{
    // A tied head does not bring the embedding if its products are computed elsewhere or in int8.
    if ((model->outside || model->in_8bit) && parameter->kind == CR_PARAMETER_EMBEDDING)
        return model->part.embedding;
    return cr_model_part_has(&model->part, &model->config, parameter);
}

static bool is_linear(const struct cr_model_parameter *parameter)
{
    return parameter->kind == CR_PARAMETER_MODULE || parameter->kind == CR_PARAMETER_HEAD;
}

static bool is_8bit(const struct cr_model *model, const struct cr_model_parameter *parameter)
{
    return model->in_8bit && is_linear(parameter);
}

// Places `count` matrices of equal width in one block: in the mapping, or in model->memory.
static struct cr_matrix place(struct cr_model *model, struct cr_model_parameter *const *parts, size_t count)
{
    size_t rows = 0, columns = parts[0]->columns;
    for (size_t i = 0; i < count; i++) rows += parts[i]->rows;
    bool quantized = is_8bit(model, parts[0]);
    enum cr_dtype dtype = quantized ? CR_I8 : type_of(model, parts, count);
    void *data;
    const unsigned char *in_file = quantized ? NULL : mapped(model, parts, count, dtype);
    if (in_file)
        memcpy(&data, &in_file, sizeof data); // struct cr_matrix has no const form; nobody writes to it
    else
        data = cr_arena_take(&model->memory, rows * columns, cr_dtype_size(dtype));
    struct cr_matrix block = cr_matrix_of(data, dtype, rows, columns);
    if (quantized) block.scale = cr_arena_take(&model->memory, rows, sizeof *block.scale);
    if (!data) return block;
    for (size_t i = 0, at = 0; i < count; at += parts[i++]->rows)
        parts[i]->place = cr_matrix_rows(block, at, parts[i]->rows);
    return block;
}

// Places a vector, F32.
static float *place_vector(struct cr_model *model, struct cr_model_parameter *vector)
{
    float *data = cr_arena_take(&model->memory, vector->rows, sizeof *data);
    vector->place = cr_matrix_of(data, CR_F32, 1, vector->rows);
    return data;
}

static struct cr_norm place_norm(struct cr_model *model, size_t layer, enum cr_parameter_kind weight,
                                 enum cr_parameter_kind bias)
{
    struct cr_norm norm = {.weight = place_vector(model, cr_weights_parameter(model, weight, layer, 0))};
    if (model->config.layer_norm)
        norm.bias = place_vector(model, cr_weights_parameter(model, bias, layer, 0));
    return norm;
}

// Places the biases of some modules one after the other.
static const float *place_biases(struct cr_model *model, size_t layer, struct cr_modules modules)
{
    if (!cr_module_has_bias(&model->config, modules.first)) return NULL;
    struct cr_model_parameter *parts[3];
    size_t count = 0, at = 0;
    for (size_t i = 0; i < modules.count; i++) {
        parts[i] = cr_weights_parameter(model, CR_PARAMETER_BIAS, layer, modules.first + (enum cr_module)i);
        count += parts[i]->rows;
    }
    float *data = cr_arena_take(&model->memory, count, sizeof *data);
    if (!data) return NULL;
    for (size_t i = 0; i < modules.count; at += parts[i++]->rows)
        parts[i]->place = cr_matrix_of(data + at, CR_F32, 1, parts[i]->rows);
    return data;
}

// Sets up a linear of these parameters; its weight is placed if the model holds it.
static void set_up_linear(struct cr_model *model, struct cr_model_parameter *const *parts, size_t count,
                          const float *bias, struct cr_linear *out)
{
    size_t rows = 0;
    for (size_t i = 0; i < count; i++) rows += parts[i]->rows;
    if (model->outside || !has(model, parts[0]))
        cr_linear_outside_init(model->compute, rows, parts[0]->columns, bias, out);
    else
        cr_linear_local_init(model->compute, place(model, parts, count), bias, out);
}

static void place_linear(struct cr_model *model, size_t layer, struct cr_modules modules,
                         struct cr_linear *out)
{
    struct cr_model_parameter *parts[3];
    for (size_t i = 0; i < modules.count; i++)
        parts[i] = cr_weights_parameter(model, CR_PARAMETER_MODULE, layer, modules.first + (enum cr_module)i);
    const float *bias = has(model, parts[0]) ? place_biases(model, layer, modules) : NULL;
    set_up_linear(model, parts, modules.count, bias, out);
}

static void place_layer(struct cr_model *model, size_t i)
{
    struct cr_layer *layer = &model->layers[i];
    place_linear(model, i, cr_qkv_modules(&model->config), &layer->qkv);
    place_linear(model, i, (struct cr_modules){CR_O, 1}, &layer->o);
    place_linear(model, i, cr_gate_up_modules(&model->config), &layer->gate_up);
    place_linear(model, i, (struct cr_modules){CR_DOWN, 1}, &layer->down);
    if (i < model->part.first || i >= model->part.last) return;
    layer->norm1 = place_norm(model, i, CR_PARAMETER_NORM1, CR_PARAMETER_NORM1_BIAS);
    layer->norm2 = place_norm(model, i, CR_PARAMETER_NORM2, CR_PARAMETER_NORM2_BIAS);
    if (!model->config.head_norms) return;
    layer->q_norm = place_vector(model, cr_weights_parameter(model, CR_PARAMETER_Q_NORM, i, 0));
    layer->k_norm = place_vector(model, cr_weights_parameter(model, CR_PARAMETER_K_NORM, i, 0));
}

// Without data if the model does not hold it.
static struct cr_matrix place_table(struct cr_model *model, enum cr_parameter_kind kind)
{
    struct cr_model_parameter *table = cr_weights_parameter(model, kind, 0, 0);
    return has(model, table) ? place(model, &table, 1) : (struct cr_matrix){0};
}

// A tied head multiplies with the embedding itself; in 8 bits it has int8 weights of its own, as other
// linears do.
static void place_tied_head(struct cr_model *model)
{
    struct cr_matrix weight = model->embedding;
    if (model->in_8bit) {
        const struct cr_model_parameter *head = cr_head_parameter(model);
        weight = cr_matrix_of(NULL, CR_I8, head->rows, head->columns);
        weight.data = cr_arena_take(&model->memory, weight.rows * weight.columns, 1);
        weight.scale = cr_arena_take(&model->memory, weight.rows, sizeof *weight.scale);
    }
    cr_linear_local_init(model->compute, weight, NULL, &model->head);
}

// Called twice: the first time model->memory only counts.
static void place_all(struct cr_model *model)
{
    const struct cr_model_config *config = &model->config;
    model->embedding = place_table(model, CR_PARAMETER_EMBEDDING);
    if (config->learned_positions) model->positions = place_table(model, CR_PARAMETER_POSITION);
    for (size_t i = 0; i < config->layers; i++) place_layer(model, i);
    if (model->part.head) model->norm = place_norm(model, 0, CR_PARAMETER_NORM, CR_PARAMETER_NORM_BIAS);
    if (config->tied_head && model->part.head && !model->outside) {
        place_tied_head(model);
        return;
    }
    struct cr_model_parameter *head = cr_head_parameter(model);
    if (config->tied_head || !model->part.head)
        cr_linear_outside_init(model->compute, head->rows, head->columns, NULL, &model->head);
    else
        set_up_linear(model, &head, 1, NULL, &model->head);
}

// Rows and columns of a tensor in its file.
static void shape_in_file(const struct cr_model_parameter *parameter, size_t *rows, size_t *columns)
{
    *rows = parameter->transposed ? parameter->columns : parameter->rows;
    *columns = parameter->transposed ? parameter->rows : cr_most(parameter->columns, 1);
}

// Writes the transpose of from [rows, columns] to `to` [columns, stride]; elements have 2 or 4 bytes.
static void transpose(const void *from, size_t rows, size_t columns, void *to, size_t stride, size_t size)
{
    enum { BLOCK = 32 };
    for (size_t j0 = 0; j0 < columns; j0 += BLOCK)
        for (size_t i = 0; i < rows; i++)
            for (size_t j = j0; j < cr_least(columns, j0 + BLOCK); j++)
                memcpy((unsigned char *)to + (j * stride + i) * size,
                       (const unsigned char *)from + (i * columns + j) * size, size);
}

enum cr_status cr_parameter_decode(struct cr_compute *compute, const struct cr_model_parameter *parameter,
                                   struct cr_slice bytes, enum cr_dtype dtype, float *values)
{
    size_t rows, columns;
    shape_in_file(parameter, &rows, &columns);
    const void *source = bytes.data;
    CR_FREE void *aligned = NULL; // a file's bytes may start at any address
    if ((uintptr_t)source % cr_dtype_size(dtype) != 0) {
        CR_TRY(cr_allocate(bytes.size, 1, &aligned));
        source = memcpy(aligned, bytes.data, bytes.size);
    }
    if (!parameter->transposed) {
        cr_convert(compute, source, dtype, values, CR_F32, rows * columns);
        return CR_OK;
    }
    CR_FREE float *exact = NULL;
    CR_TRY(cr_allocate(rows * columns, sizeof *exact, &exact));
    cr_convert(compute, source, dtype, exact, CR_F32, rows * columns);
    transpose(exact, rows, columns, values, rows, sizeof *values);
    return CR_OK;
}

enum cr_status cr_parameter_encode(struct cr_compute *compute, const struct cr_model_parameter *parameter,
                                   const float *values, enum cr_dtype dtype, void *bytes)
{
    size_t rows, columns;
    shape_in_file(parameter, &rows, &columns);
    if (!parameter->transposed) {
        cr_convert(compute, values, CR_F32, bytes, dtype, rows * columns);
        return CR_OK;
    }
    CR_FREE float *turned = NULL;
    CR_TRY(cr_allocate(rows * columns, sizeof *turned, &turned));
    transpose(values, columns, rows, turned, columns, sizeof *values);
    cr_convert(compute, turned, CR_F32, bytes, dtype, rows * columns);
    cr_wipe(turned, rows * columns * sizeof *turned);
    return CR_OK;
}

// Buffers of `fill` for one piece of a tensor: aligned, which it may not be in the file, and converted.
enum { PIECE = 1 << 18 }; // elements
struct piece {
    float *source, *converted;
    size_t elements;
};

// Converts an entry into its place, a piece at a time; a piece of a transposed one is whole rows of the file.
static void fill(struct cr_model *model, const struct cr_model_parameter *parameter,
                 const struct cr_tensor_entry *entry, const struct piece *piece)
{
    struct cr_matrix to = parameter->place;
    size_t rows, columns, from_size = cr_dtype_size(entry->dtype), to_size = cr_dtype_size(to.dtype);
    shape_in_file(parameter, &rows, &columns);
    size_t most = parameter->transposed ? piece->elements / columns * columns : piece->elements;
    for (size_t at = 0; at < rows * columns; at += most) {
        size_t n = cr_least(most, rows * columns - at);
        const unsigned char *from = entry->bytes.data + at * from_size;
        unsigned char *target = (unsigned char *)to.data + at * to_size;
        memcpy(piece->source, from, n * from_size);
        cr_convert(model->compute, piece->source, entry->dtype,
                   parameter->transposed ? (void *)piece->converted : target, to.dtype, n);
        if (parameter->transposed)
            transpose(piece->converted, n / columns, columns,
                      (unsigned char *)to.data + at / columns * to_size, to.stride, to_size);
        cr_file_drop((struct cr_slice){from, n * from_size}); // otherwise the weight would be in memory twice
    }
}

// A few rows at a time; a transposed tensor all at once, because its rows are complete only then.
enum cr_status cr_weights_quantize(struct cr_compute *compute, const struct cr_model *model,
                                   const struct cr_model_parameter *parameter, struct cr_matrix to)
{
    const struct cr_tensor_entry *entry = cr_parameter_entry(parameter, model->weights);
    if (!entry) // the model was opened for a part without it
        return cr_fail(CR_INVALID, "%s: it has no tensor %s", cr_safetensors_name(model->weights),
                       parameter->name);
    size_t size = to.columns * cr_dtype_size(entry->dtype);
    size_t most = parameter->transposed ? to.rows : cr_least(to.rows, PIECE / to.columns + 1);
    float *scale; // struct cr_matrix has const scales; only this function writes to them
    memcpy(&scale, &to.scale, sizeof scale);
    CR_FREE float *values = NULL;
    CR_TRY(cr_allocate(most * to.columns, sizeof *values, &values));
    for (size_t row = 0; row < to.rows; row += most) {
        struct cr_model_parameter part = *parameter;
        part.rows = cr_least(most, to.rows - row);
        const struct cr_slice bytes = {entry->bytes.data + row * size, part.rows * size};
        CR_TRY(cr_parameter_decode(compute, &part, bytes, entry->dtype, values));
        enum cr_status status = cr_quantize_rows(compute, values, part.rows, to.columns,
                                                 (int8_t *)to.data + row * to.stride, scale + row, NULL);
        if (status != CR_OK)
            return cr_fail_within(status, "%s: tensor %s", cr_safetensors_name(model->weights),
                                  parameter->name);
        cr_file_drop(bytes);
    }
    return CR_OK;
}

static enum cr_status fill_all(struct cr_model *model)
{
    CR_FREE float *source = NULL;
    CR_FREE float *converted = NULL;
    size_t elements = PIECE;
    for (size_t i = 0; i < model->parameter_count; i++)
        if (model->parameters[i].transposed) elements = cr_most(elements, model->parameters[i].rows);
    CR_TRY(cr_allocate(elements, sizeof *source, &source));
    CR_TRY(cr_allocate(elements, sizeof *converted, &converted));
    const struct piece piece = {source, converted, elements};
    for (size_t i = 0; i < model->parameter_count; i++) {
        struct cr_model_parameter *parameter = &model->parameters[i];
        const struct cr_tensor_entry *entry = cr_parameter_entry(parameter, model->weights);
        if (!parameter->place.data) continue; // of another part, or computed outside
        if (is_8bit(model, parameter))
            CR_TRY(cr_weights_quantize(model->compute, model, parameter, parameter->place));
        else if (parameter->place.data != (const void *)entry->bytes.data)
            fill(model, parameter, entry, &piece);
    }
    if (model->in_8bit && model->config.tied_head && model->part.head)
        CR_TRY(cr_weights_quantize(model->compute, model, cr_head_parameter(model), model->head.weight));
    return CR_OK;
}

static void fill_norms_with_ones(struct cr_model *model)
{
    for (size_t i = 0; i < model->parameter_count; i++) {
        struct cr_matrix place_of = model->parameters[i].place;
        float *values = place_of.data;
        if (model->parameters[i].columns == 0 && !cr_parameter_is_bias(&model->parameters[i]))
            for (size_t j = 0; j < place_of.columns; j++) values[j] = 1;
    }
}

void cr_weights_measure(struct cr_model *model)
{
    place_all(model);
}

enum cr_status cr_weights_place(struct cr_model *model)
{
    cr_weights_measure(model);
    CR_TRY(cr_arena_commit(&model->memory));
    place_all(model);
    if (model->weights) return fill_all(model);
    fill_norms_with_ones(model);
    return CR_OK;
}
