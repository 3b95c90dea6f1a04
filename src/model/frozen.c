#include "model/frozen.h"
#include "model/weights.h"

#include "field/quantize.h"

#include <stdlib.h>

static enum cr_status quantize_tied_head(const struct cr_model *model, struct cr_frozen *frozen,
                                         struct cr_matrix *out)
{
    const struct cr_model_parameter *embedding = &model->parameters[0];
    struct cr_matrix head = cr_matrix_of(NULL, CR_I8, embedding->rows, embedding->columns);
    for (int i = 0; i < 2; i++) {
        head.data = cr_arena_take(&frozen->memory, head.rows * head.columns, 1);
        head.scale = cr_arena_take(&frozen->memory, head.rows, sizeof *head.scale);
        if (i == 0) CR_TRY(cr_arena_commit(&frozen->memory));
    }
    CR_TRY(cr_weights_quantize(model, embedding, head));
    *out = head;
    return CR_OK;
}

static enum cr_status open_frozen(const struct cr_model *model, struct cr_frozen *frozen)
{
    frozen->count = 4 * model->config.layers + 1;
    CR_TRY(cr_allocate(frozen->count, sizeof *frozen->matrices, &frozen->matrices));
    struct cr_matrix *next = frozen->matrices;
    for (size_t i = 0; i < model->config.layers; i++) {
        const struct cr_layer *layer = &model->layers[i];
        *next++ = layer->qkv.weight;
        *next++ = layer->o.weight;
        *next++ = layer->gate_up.weight;
        *next++ = layer->down.weight;
    }
    if (model->config.tied_head)
        CR_TRY(quantize_tied_head(model, frozen, next));
    else
        *next = model->head.weight;
    for (size_t i = 0; i < frozen->count; i++)
        frozen->checksum = cr_quantized_checksum(frozen->checksum, frozen->matrices[i]);
    return CR_OK;
}

enum cr_status cr_frozen_open(const struct cr_model *model, struct cr_frozen *out)
{
    struct cr_frozen frozen = {0};
    if (!model->in_8bit) return cr_fail(CR_INTERNAL, "the model was not opened in 8 bits");
    enum cr_status status = open_frozen(model, &frozen);
    if (status == CR_OK)
        *out = frozen;
    else
        cr_frozen_release(&frozen);
    return status;
}

void cr_frozen_release(struct cr_frozen *frozen)
{
    free(frozen->matrices);
    cr_arena_release(&frozen->memory);
    *frozen = (struct cr_frozen){0};
}
