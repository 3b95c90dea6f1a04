// One walk through the model, forward and back. Memory is sized when the pass is made; walks do not allocate.
#ifndef CARREL_MODEL_PASS_H
#define CARREL_MODEL_PASS_H

#include "model/keep.h"
#include "model/model.h"

enum { CR_UNLABELLED = -100 }; // a row without loss

// Rows of a batch: sequences one after the other, no padding (text/batch.h makes them).
struct cr_rows {
    size_t sequences;
    size_t rows;              // M, at most the pass's
    const size_t *offset;     // [sequences + 1]
    const uint32_t *tokens;   // [M], each below V (CR_INVALID otherwise); only the embedding looks at them.
                              // NULL: a walk from layer 0 takes the caller's stream too
    const uint32_t *position; // [M] in its sequence, each below the pass's rows and what of config.context
                              // the prefix leaves (CR_INVALID otherwise)
    const int32_t *labels;    // [M], a token id or CR_UNLABELLED; NULL where no loss is wanted
};

struct cr_pass;

// What a pass is made for.
struct cr_pass_size {
    size_t rows, sequences; // of a batch, at most
    size_t prefix;          // of what is tuned (struct cr_tuned); must leave room in the model's context
    size_t first, last;     // it walks no others than layers [first, last); last 0: to the model's end
    bool backward;          // keep what cr_pass_backward needs
};

// With a store, what the way back needs is kept there, borrowed until the pass is freed, and the pass has the
// memory of one layer, whose results are the same, but for a tuned head's gradient, the sum of fewer rows at
// a time; what a walk forward leaves besides, its stream, lasts until the way back.
enum cr_status cr_pass_new(const struct cr_model *model, const struct cr_pass_size *size,
                           struct cr_keep *store, struct cr_pass **out);
void cr_pass_free(struct cr_pass *pass);           // NULL is allowed; wipes
size_t cr_pass_memory(const struct cr_pass *pass); // bytes

// The bytes of a pass that was not made: what cr_pass_memory would say. `outside`: one with a store.
size_t cr_pass_memory_of(const struct cr_model *model, const struct cr_pass_size *size, bool outside);

// Embedding and layers [first, last), within the pass's. A walk of the whole model is first = 0, last =
// config.layers. With first > 0 the caller has put the residual stream into cr_pass_stream first: of another
// pass over the layers below, in whatever process, it gives the same bits as one walk. tuned may be NULL.
enum cr_status cr_pass_forward(struct cr_pass *pass, const struct cr_tuned *tuned, const struct cr_rows *rows,
                               size_t first, size_t last);

// The residual stream after the last forward, at first that before the pass's first layer: F32 [rows of the
// pass, d], of which the batch's rows count.
struct cr_matrix cr_pass_stream(struct cr_pass *pass);

// Final norm, head and cross-entropy of the labelled rows alone, a few rows at a time: the logits of a batch
// are never held at once. *loss_sum is added to; right [M] (may be NULL) tells of each row whether its label
// is the arg max, and is true where there is no label. With `scale` > 0 the gradient of scale·loss_sum goes
// into the pass for cr_pass_backward, and those of a tuned head and final norm are added to; these, and what
// the way back adds, hold part of a sum after a failure.
enum cr_status cr_pass_loss(struct cr_pass *pass, const struct cr_tuned *tuned, const struct cr_rows *rows,
                            float scale, double *loss_sum, bool *right);

// Each row's part of the last loss: [M], 0 where there is no label.
const float *cr_pass_row_losses(const struct cr_pass *pass);

// Logits of chosen rows, [count,V] F32.
enum cr_status cr_pass_logits(struct cr_pass *pass, const uint32_t *row, size_t count, float *logits);

// The way back over layers [first, last) of the last forward, gradients added to those in `tuned`; stops as
// early as nothing below is tuned. It begins with the gradient that cr_pass_loss left (last = config.layers)
// or an earlier way back did, and uses up what the forward kept: once per forward.
enum cr_status cr_pass_backward(struct cr_pass *pass, const struct cr_tuned *tuned,
                                const struct cr_rows *rows, size_t first, size_t last);

#endif
