// The end of a walk: final norm, head and loss of a few rows. Private to model/.
#ifndef CARREL_MODEL_HEAD_H
#define CARREL_MODEL_HEAD_H

#include "model/walk.h"

// Norm and head product of the `count` <= walk->chunk rows of `stream` (F32, [.., d]) that walk->head_row
// names, into `logits` [count, V] F32.
enum cr_status cr_head_logits(struct cr_walk *walk, struct cr_matrix stream, size_t count,
                              struct cr_matrix logits);

// The loss of those rows against walk->head_label, added to *loss_sum; walk->head_correct tells which are the
// arg max. With `scale` > 0 and something tuned, head and norm get their gradients and walk->gradient the
// rows'.
enum cr_status cr_head_loss(struct cr_walk *walk, const struct cr_tuned *tuned, struct cr_matrix stream,
                            size_t count, float scale, double *loss_sum);

#endif
