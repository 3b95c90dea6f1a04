// A pass through the model, forward and backward. Memory is sized when the pass is made; running it allocates
// nothing.
#ifndef CARREL_MODEL_PASS_H
#define CARREL_MODEL_PASS_H

#include "model/keep.h"
#include "model/model.h"

enum { CR_UNLABELLED = -100 }; // a row without loss

// Rows of a batch: sequences one after the other, no padding (text/batch.h makes them).
struct cr_rows {
    size_t sequences;
    size_t rows;              // M, at most the pass's rows
    const size_t *offset;     // [sequences + 1]
    const uint32_t *tokens;   // [M], each below V (CR_INVALID otherwise); used by the embedding only.
                              // NULL: forward from layer 0 also starts with the caller's stream
    const uint32_t *position; // [M] within its sequence; each below the pass's rows and below
                              // config.context − prefix (CR_INVALID otherwise)
    const int32_t *labels;    // [M], a token id or CR_UNLABELLED; NULL if no loss is wanted
};

struct cr_pass;

// What a pass is made for.
struct cr_pass_size {
    size_t rows, sequences; // of a batch, at most
    size_t prefix;          // rows of the prefix (struct cr_tuned); must leave room in the model's context
    size_t first, last;     // it runs no layers but [first, last); last 0: to the model's end
    bool backward;          // keep what cr_pass_backward needs
};

// With a store, what the backward pass needs is kept there, and the pass has memory for only one layer.
// Results are the same, except that a tuned head's gradient is summed over fewer rows at a time, and the
// stream that forward leaves is valid only until the backward pass. `store` is borrowed until the pass is
// freed, as is `model`.
enum cr_status cr_pass_new(const struct cr_model *model, const struct cr_pass_size *size,
                           struct cr_keep *store, struct cr_pass **out);
void cr_pass_free(struct cr_pass *pass);           // NULL is allowed; wipes
size_t cr_pass_memory(const struct cr_pass *pass); // bytes

// What cr_pass_memory would return for such a pass. `outside`: with a store.
size_t cr_pass_memory_of(const struct cr_model *model, const struct cr_pass_size *size, bool outside);

// Runs the embedding and layers [first, last), within the pass's; for the whole model first = 0 and last =
// config.layers. With first > 0 the caller has written the residual stream into cr_pass_stream. If it comes
// from another pass over the layers below, in whatever process, results have the bits of a single pass. tuned
// may be NULL.
enum cr_status cr_pass_forward(struct cr_pass *pass, const struct cr_tuned *tuned, const struct cr_rows *rows,
                               size_t first, size_t last);

// The residual stream after the last forward, or, before any, the one before the pass's first layer: F32
// [rows of the pass, d], of which the first M rows are the batch's.
struct cr_matrix cr_pass_stream(struct cr_pass *pass);

// Computes the final norm, head and cross-entropy of the labelled rows, a few rows at a time, so that the
// logits of a whole batch are never in memory. Adds to *loss_sum. right [M] (may be NULL) says for each row
// whether its label is the arg max, and is true where there is no label. With `scale` > 0 the gradient of
// scale·loss_sum is left in the pass for cr_pass_backward, and the gradients of a tuned head and final norm
// are added to. After a failure these gradients, and those that cr_pass_backward adds to, hold incomplete
// sums.
enum cr_status cr_pass_loss(struct cr_pass *pass, const struct cr_tuned *tuned, const struct cr_rows *rows,
                            float scale, double *loss_sum, bool *right);

// Each row's loss in the last cr_pass_loss: [M], 0 where there is no label.
const float *cr_pass_row_losses(const struct cr_pass *pass);

// Logits of the `count` chosen rows, [count,V] F32.
enum cr_status cr_pass_logits(struct cr_pass *pass, const uint32_t *row, size_t count, float *logits);

// The backward pass through layers [first, last) of the last forward. Adds to the gradients in `tuned`, and
// stops where nothing below is tuned. Starts with the gradient that cr_pass_loss (last = config.layers) or an
// earlier backward left. It uses up what forward kept, so it can run once per forward.
enum cr_status cr_pass_backward(struct cr_pass *pass, const struct cr_tuned *tuned,
                                const struct cr_rows *rows, size_t first, size_t last);

#endif
