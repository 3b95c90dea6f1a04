#include "accelerator/front.h"

#include "model/frozen.h"
#include "tensor/ops.h"

#include <stdlib.h>
#include <string.h>

struct cr_front_linear {
    struct cr_exact *exact;
    struct cr_bound *bounds;
};

static enum cr_status exact_forward(const struct cr_linear *self, struct cr_matrix x, struct cr_matrix y)
{
    const struct cr_front_linear *linear = self->state;
    CR_TRY(cr_exact_forward(linear->exact, linear->bounds, self->weight, x, y));
    if (self->bias) cr_add_row(self->compute, y, self->bias);
    return CR_OK;
}

// There is no backward pass, and nothing to release.
static const struct cr_linear_provider provider = {.forward = exact_forward};

static enum cr_status make_layers(const struct cr_model *model, struct cr_front_model *front)
{
    size_t layers = model->config.layers, count = layers * CR_FROZEN_PER_LAYER, longest, numbers;
    front->model.layers = NULL;
    CR_TRY(cr_allocate(layers, sizeof *front->model.layers, &front->model.layers));
    memcpy(front->model.layers, model->layers, layers * sizeof *model->layers);
    cr_frozen_layer_size(&front->model, &longest, &numbers);
    CR_TRY(cr_exact_new(model->compute, longest, &front->exact));
    CR_TRY(cr_allocate(count, sizeof *front->linears, &front->linears));
    for (size_t i = 0; i < count; i++) {
        struct cr_linear *linear = cr_frozen_linear(&front->model, i);
        front->linears[i].exact = front->exact;
        CR_TRY(cr_allocate(cr_bound_parts(linear->in, false), sizeof *front->linears[i].bounds,
                           &front->linears[i].bounds));
        CR_TRY(cr_exact_bound(linear->weight, front->linears[i].bounds));
        linear->provider = &provider;
        linear->state = &front->linears[i];
    }
    return CR_OK;
}

enum cr_status cr_front_model_open(const struct cr_model *model, struct cr_front_model *out)
{
    *out = (struct cr_front_model){.model = *model};
    enum cr_status status = make_layers(model, out);
    if (status != CR_OK) cr_front_model_release(out);
    return status;
}

void cr_front_model_release(struct cr_front_model *front)
{
    cr_exact_free(front->exact);
    for (size_t i = 0; front->linears && i < front->model.config.layers * CR_FROZEN_PER_LAYER; i++)
        free(front->linears[i].bounds);
    free(front->model.layers);
    free(front->linears);
    *front = (struct cr_front_model){0};
}

void cr_front_room_release(struct cr_front_room *room)
{
    cr_pass_free(room->pass);
    free(room->numbers);
    free(room->position);
    free(room->offset);
    *room = (struct cr_front_room){0};
}

enum cr_status cr_front_room_make(struct cr_front_room *room, const struct cr_model *model,
                                  const struct cr_wire_front *front)
{
    const struct cr_pass_size *had = &room->size;
    if (room->pass && front->rows <= had->rows && front->sequences <= had->sequences &&
        front->layers == had->last)
        return CR_OK;
    const struct cr_pass_size size = {.rows = cr_most(front->rows, had->rows),
                                      .sequences = cr_most(front->sequences, had->sequences),
                                      .last = front->layers};
    cr_front_room_release(room);
    room->size = size;
    CR_TRY(cr_allocate(size.rows + size.sequences, sizeof *room->numbers, &room->numbers));
    CR_TRY(cr_allocate(size.rows, sizeof *room->position, &room->position));
    CR_TRY(cr_allocate(size.sequences + 1, sizeof *room->offset, &room->offset));
    return cr_pass_new(model, &size, NULL, &room->pass);
}

// Computes where sequences begin, and each row's position in its own sequence.
static enum cr_status lay_out(struct cr_front_room *room, const struct cr_wire_front *front)
{
    const uint32_t *lengths = room->numbers + front->rows;
    size_t row = 0;
    for (size_t s = 0; s < front->sequences; s++) {
        if (lengths[s] == 0 || lengths[s] > front->rows - row)
            return cr_fail(CR_INVALID, "sequence %zu of a front has %u of its %u rows", s, lengths[s],
                           front->rows);
        for (uint32_t i = 0; i < lengths[s]; i++) room->position[row++] = i;
        room->offset[s + 1] = row;
    }
    if (row != front->rows)
        return cr_fail(CR_INVALID, "the sequences of a front have %zu of its %u rows", row, front->rows);
    return CR_OK;
}

enum cr_status cr_front_walk(struct cr_front_room *room, const struct cr_model *model,
                             const struct cr_wire_front *front, float *stream)
{
    CR_TRY(lay_out(room, front));
    const struct cr_rows rows = {.sequences = front->sequences,
                                 .rows = front->rows,
                                 .offset = room->offset,
                                 .tokens = room->numbers,
                                 .position = room->position};
    CR_TRY(cr_pass_forward(room->pass, NULL, &rows, 0, front->layers));
    const struct cr_matrix result = cr_pass_stream(room->pass);
    size_t hidden = model->config.hidden;
    for (size_t i = 0; i < rows.rows; i++)
        memcpy(stream + i * hidden, (const float *)result.data + i * result.stride, hidden * sizeof *stream);
    return CR_OK;
}
