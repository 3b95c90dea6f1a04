// The clear front: computes the first layers of the model, whole and unmasked, for the silo that owns the
// accelerator. The arithmetic is float32, with linears computed like masked products (model/exact.h).
#ifndef CARREL_ACCELERATOR_FRONT_H
#define CARREL_ACCELERATOR_FRONT_H

#include "field/wire.h"
#include "model/exact.h"
#include "model/pass.h"

// A model whose layers use this arithmetic.
struct cr_front_model {
    struct cr_model model; // shares everything but its layers with the model it was made from
    struct cr_exact *exact;
    struct cr_front_linear *linears;
};

// `model` is opened with CR_MODEL_IN_8BIT, in F32, and is borrowed. *out must not be moved afterwards.
enum cr_status cr_front_model_open(const struct cr_model *model, struct cr_front_model *out);
void cr_front_model_release(struct cr_front_model *front); // a zeroed struct is allowed

// Memory for a session's forward passes; made again when a question needs more. Zero-initialise it.
struct cr_front_room {
    struct cr_pass *pass;
    struct cr_pass_size size; // of the pass
    uint32_t *numbers;        // [rows + sequences]: the question's tokens, then its lengths
    uint32_t *position;       // [rows]
    size_t *offset;           // [sequences + 1]
};

// Makes room for the question. The caller has checked its number of layers and of rows.
enum cr_status cr_front_room_make(struct cr_front_room *room, const struct cr_model *model,
                                  const struct cr_wire_front *front);
void cr_front_room_release(struct cr_front_room *room);

// Writes the layers' output for the question in room->numbers to `stream`, [rows, d] without gaps; other
// processes may read it meanwhile. Fails with CR_INVALID if the lengths do not add up to the rows, or if the
// model lacks a token.
enum cr_status cr_front_walk(struct cr_front_room *room, const struct cr_model *model,
                             const struct cr_wire_front *front, float *stream);

#endif
