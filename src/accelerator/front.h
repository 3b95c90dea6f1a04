// The clear front: the first layers of the model, whole and in the clear, for the silo that owns the
// accelerator. The arithmetic is float32, and that of masked products (model/exact.h).
#ifndef CARREL_ACCELERATOR_FRONT_H
#define CARREL_ACCELERATOR_FRONT_H

#include "field/wire.h"
#include "model/exact.h"
#include "model/pass.h"

// A model whose layers multiply so.
struct cr_front_model {
    struct cr_model model; // shares all but its layers with the one that it was made from
    struct cr_exact *exact;
    struct cr_front_linear *linears;
};

// `model` is of CR_MODEL_IN_8BIT, in F32, and is borrowed. *out stays where it is.
enum cr_status cr_front_model_open(const struct cr_model *model, struct cr_front_model *out);
void cr_front_model_release(struct cr_front_model *front); // zeros are allowed

// What a session walks with, made anew where a question needs more of it. Zero-initialise.
struct cr_front_room {
    struct cr_pass *pass;
    struct cr_pass_size size; // of the pass
    uint32_t *numbers;        // [rows + sequences]: the question's tokens, then its lengths
    uint32_t *position;       // [rows]
    size_t *offset;           // [sequences + 1]
};

// Makes room for the question, which the model has the layers for and whose rows the caller has bounded.
enum cr_status cr_front_room_make(struct cr_front_room *room, const struct cr_model *model,
                                  const struct cr_wire_front *front);
void cr_front_room_release(struct cr_front_room *room);

// What the layers make of the question in room->numbers, row by row without gaps into `stream`, [rows, d],
// which others may read meanwhile. Lengths that are not those of the rows and tokens that the model has not
// are CR_INVALID.
enum cr_status cr_front_walk(struct cr_front_room *room, const struct cr_model *model,
                             const struct cr_wire_front *front, float *stream);

#endif
