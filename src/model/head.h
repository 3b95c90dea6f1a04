// The end of a forward pass: final norm, head and loss of a few rows. Private to model/.
#ifndef CARREL_MODEL_HEAD_H
#define CARREL_MODEL_HEAD_H

#include "model/walk.h"

// Applies norm and head to `count` <= walk->chunk rows of `stream` (F32, [.., d]), whose indices are in
// walk->head_row. `logits` is [count, V] F32.
enum cr_status cr_head_logits(struct cr_walk *walk, struct cr_matrix stream, size_t count,
                              struct cr_matrix logits);

// Adds the loss of those rows against walk->head_label to *loss_sum, and sets walk->head_correct where the
// label is the arg max. With `scale` > 0 and something tuned, also adds to the gradients of head and norm,
// and writes the gradients of these rows into walk->gradient.
enum cr_status cr_head_loss(struct cr_walk *walk, const struct cr_tuned *tuned, struct cr_matrix stream,
                            size_t count, float scale, double *loss_sum);

#endif
