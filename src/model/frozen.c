#include "model/frozen.h"
#include "model/weights.h"

#include "field/bound.h"
#include "field/quantize.h"

#include <stdio.h>
#include <stdlib.h>

size_t cr_frozen_count(const struct cr_model *model)
{
    return CR_FROZEN_PER_LAYER * model->config.layers + 1;
}

struct cr_linear *cr_frozen_linear(struct cr_model *model, size_t i)
{
    struct cr_layer *layer = &model->layers[i / CR_FROZEN_PER_LAYER];
    if (i + 1 == cr_frozen_count(model)) return &model->head;
    struct cr_linear *const linears[CR_FROZEN_PER_LAYER] = {&layer->qkv, &layer->o, &layer->gate_up,
                                                            &layer->down};
    return linears[i % CR_FROZEN_PER_LAYER];
}

bool cr_frozen_held(const struct cr_model *model, size_t i)
{
    size_t layer = i / CR_FROZEN_PER_LAYER;
    if (i + 1 == cr_frozen_count(model)) return model->part.head;
    return layer >= model->part.first && layer < model->part.last;
}

void cr_frozen_layer_size(struct cr_model *model, size_t *longest, size_t *numbers)
{
    *longest = *numbers = 1;
    for (size_t i = 0; i < CR_FROZEN_PER_LAYER; i++) {
        const struct cr_linear *linear = cr_frozen_linear(model, i);
        *longest = cr_most(*longest, cr_most(linear->in, linear->out * cr_bound_parts(linear->in, false)));
        *numbers = cr_most(*numbers, linear->in * linear->out);
    }
}

void cr_frozen_name(size_t count, size_t i, char out[CR_FROZEN_NAME_SIZE])
{
    static const char *const names[CR_FROZEN_PER_LAYER] = {"qkv", "o", "gate_up", "down"};
    if (i + 1 == count)
        snprintf(out, CR_FROZEN_NAME_SIZE, "the head");
    else
        snprintf(out, CR_FROZEN_NAME_SIZE, "%s of layer %zu", names[i % CR_FROZEN_PER_LAYER],
                 i / CR_FROZEN_PER_LAYER);
}

enum cr_status cr_frozen_open(struct cr_model *model, struct cr_frozen *out)
{
    struct cr_frozen frozen = {.count = cr_frozen_count(model)};
    if (!model->in_8bit) return cr_fail(CR_INTERNAL, "the model was not opened in 8 bits");
    CR_TRY(cr_allocate(frozen.count, sizeof *frozen.matrices, &frozen.matrices));
    for (size_t i = 0; i < frozen.count; i++) {
        frozen.matrices[i] = cr_frozen_linear(model, i)->weight;
        frozen.checksum = cr_quantized_checksum(frozen.checksum, frozen.matrices[i]);
    }
    *out = frozen;
    return CR_OK;
}

void cr_frozen_release(struct cr_frozen *frozen)
{
    free(frozen->matrices);
    *frozen = (struct cr_frozen){0};
}

size_t cr_frozen_parts(const struct cr_model *model, size_t i,
                       const struct cr_model_parameter *out[CR_FROZEN_MOST_PARTS])
{
    const struct cr_modules modules[CR_FROZEN_PER_LAYER] = {
        cr_qkv_modules(&model->config), {CR_O, 1}, cr_gate_up_modules(&model->config), {CR_DOWN, 1}};
    if (i + 1 == cr_frozen_count(model)) {
        out[0] = cr_head_parameter(model);
        return 1;
    }
    struct cr_modules of = modules[i % CR_FROZEN_PER_LAYER];
    for (size_t m = 0; m < of.count; m++)
        out[m] = cr_weights_parameter(model, CR_PARAMETER_MODULE, i / CR_FROZEN_PER_LAYER,
                                      of.first + (enum cr_module)m);
    return of.count;
}

enum cr_status cr_frozen_read(struct cr_compute *compute, const struct cr_model *model, size_t i,
                              struct cr_matrix to)
{
    const struct cr_model_parameter *parts[CR_FROZEN_MOST_PARTS];
    size_t count = cr_frozen_parts(model, i, parts);
    for (size_t p = 0, row = 0; p < count; row += parts[p++]->rows)
        CR_TRY(cr_weights_quantize(compute, model, parts[p], cr_matrix_rows(to, row, parts[p]->rows)));
    return CR_OK;
}

enum cr_status cr_frozen_rows(struct cr_compute *compute, const struct cr_model *model,
                              enum cr_parameter_kind kind, const uint32_t *row, size_t count, float *to)
{
    struct cr_model_parameter one = *cr_weights_parameter(model, kind, 0, 0);
    const struct cr_tensor_entry *entry = cr_parameter_entry(&one, model->weights);
    size_t size = one.columns * cr_dtype_size(entry->dtype), rows = one.rows;
    one.rows = 1;
    for (size_t i = 0; i < count; i++) {
        if (row[i] >= rows) return cr_fail(CR_INVALID, "%s has no row %u", one.name, row[i]);
        const struct cr_slice bytes = {entry->bytes.data + row[i] * size, size};
        CR_TRY(cr_parameter_decode(compute, &one, bytes, entry->dtype, to + i * one.columns));
    }
    return CR_OK;
}
