#include "accelerator/front.h"

#include <stdlib.h>
#include <string.h>

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

// Where sequences begin, and the place of each row in its own.
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
