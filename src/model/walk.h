// The memory and the steps of a pass through the layers, shared by training passes and decoders. Private to
// model/.
//
// Notation: M rows of the batch, L layers, d hidden, F intermediate, V vocabulary; "act" is the model's
// activation type.
#ifndef CARREL_MODEL_WALK_H
#define CARREL_MODEL_WALK_H

#include "model/keep.h"
#include "model/model.h"
#include "tensor/attention.h"

// What one layer keeps for its backward pass.
struct cr_trace {
    struct cr_matrix qkv;      // [M, (heads + 2·kv_heads)·head_dim] act, q and k rotated
    struct cr_matrix attended; // [M, heads·head_dim] act
    struct cr_matrix gate_up;  // [M, 2F] act, [M, F] with gelu; replaced by its gradient in the backward pass
    float *log_sum;            // [M, heads], see cr_attention
    float *norm1, *norm2;      // statistics of the two norms, see cr_norm_statistics
    // With head norms: their input (q and k), [M, (heads + kv_heads)·head_dim] act, and [heads + kv_heads,
    // M].
    struct cr_matrix unnormed;
    float *head_inverse;
};

// Keys and values of one layer's past, [texts·context, kv_heads·head_dim] act.
struct cr_cache {
    struct cr_matrix k, v;
};

struct cr_walk_size {
    size_t first, last;     // layers [first, last), and the head if these end with the model
    size_t rows, sequences; // of a batch, at most
    size_t positions;       // of a sequence, at most
    size_t prefix;          // rows of keys and values before a sequence's own
    bool decodes;           // the past's keys and values are in walk->caches
    bool backward;          // keep what the backward pass needs
    bool outside;           // all of that except one layer's is stored elsewhere (model/keep.h)
};

struct cr_walk {
    const struct cr_model *model;
    struct cr_walk_size size;
    struct cr_arena arena;
    struct cr_attention_shape shape;

    float *cosine, *sine;      // [positions, head_dim/2]: row p is for place prefix + p
    struct cr_matrix residual; // [buffers][rows, d] F32, see cr_walk_residual
    struct cr_trace *traces;   // [last − first with backward, else 1], see cr_walk_trace
    struct cr_cache *caches;   // [last − first], or NULL; the decoder's
    size_t *past;              // [sequences] keys before the batch's: the prefix; a decoder adds the text's
    size_t *key_offset;        // [sequences], the row at which a sequence's keys start
    struct cr_matrix gradient; // [rows, d] F32: of the residual stream

    // Work space of a layer. `hidden` shares memory with what only attention uses.
    struct cr_matrix normed;   // [rows, d] act: a norm's output; backward, its gradient too
    struct cr_matrix upstream; // [rows, d] act: the stream's gradient as products take it (not in F32 models)
    struct cr_matrix hidden;   // [rows, F] act: the activation's output; backward, its gradient too
    struct cr_matrix dattended; // [rows, heads·head_dim] act
    struct cr_matrix dqkv;      // like qkv
    // With head norms, [rows, (heads + kv_heads)·head_dim] F32: `unnormed` (not in F32 models), and its
    // gradient.
    struct cr_matrix exact, dexact;
    // With a prefix but no cache, [rows + sequences·prefix, 2·kv_heads·head_dim] act: for each sequence the
    // prefix's keys and values, then its own; and their gradient.
    struct cr_matrix joined, djoined;
    void *attention_scratch;
    float *sum; // [rows, inputs of a linear]: a gradient that several terms are added to

    // Work space of the head, for `chunk` rows at a time, if last = L. It shares its memory with a layer's.
    size_t chunk;
    uint32_t *head_row;             // [chunk]: which rows
    int32_t *head_label;            // [chunk]
    struct cr_matrix head_input;    // [chunk, d] F32: the stream
    struct cr_matrix head_normed;   // [chunk, d] act: the norm's output; backward, its gradient too
    struct cr_matrix head_gradient; // [chunk, d] F32
    struct cr_matrix head_logits;   // [chunk, V] F32, not in decoders
    struct cr_matrix head_dlogits;  // [chunk, V] act, written over the logits
    float *head_norm;               // statistics of the final norm
    float *head_loss;               // [chunk]
    bool *head_correct;             // [chunk]
    bool *right;                    // [rows]: whether the row's label is the arg max
    float *loss;                    // [rows]
};

// The layout of a batch during a pass. The arrays are the caller's.
struct cr_view {
    size_t rows;
    const uint32_t *position;
    struct cr_attention_layout layout;
};

enum cr_status cr_walk_init(const struct cr_model *model, const struct cr_walk_size *size,
                            struct cr_walk *out);
// Bytes that such a walk takes.
size_t cr_walk_memory(const struct cr_model *model, const struct cr_walk_size *size);
void cr_walk_release(struct cr_walk *walk); // wipes

// Writes the embeddings of the batch's tokens, plus learned positions if the model has them, to the first
// residual stream.
void cr_walk_embed(struct cr_walk *walk, const struct cr_view *view, const uint32_t *tokens);

// The residual stream before layer i/2 (i even) or between its attention and its MLP (i odd), for i in
// [2·first, 2·last]. With `backward` all of them are kept. Without it two buffers alternate. With `outside`
// two alternate for even i, so that a layer's input and output are both there, and a third is for odd i.
struct cr_matrix cr_walk_residual(const struct cr_walk *walk, size_t i, size_t rows);

// What the layer keeps; one trace for all layers in turn without `backward` or with `outside`.
struct cr_trace *cr_walk_trace(const struct cr_walk *walk, size_t layer);

// Lists what a layer's backward pass needs from its forward pass, for `rows` rows of the batch. Returns how
// many parts.
size_t cr_walk_parts(const struct cr_walk *walk, size_t layer, size_t rows,
                     struct cr_keep_part parts[CR_KEEP_PARTS]);

// Lists the deltas on these modules, each with its columns of the linear's y (or dy). Returns how many;
// `tuning` may be NULL.
size_t cr_walk_deltas(const struct cr_walk *walk, const struct cr_layer_tuning *tuning,
                      struct cr_modules modules, struct cr_matrix y, struct cr_delta_part parts[CR_MODULES]);

// The attention shape of a layer, including its window.
struct cr_attention_shape cr_walk_shape(const struct cr_walk *walk, size_t layer);

// hidden = the activation of gate_up: SwiGLU or gelu.
void cr_walk_activate(const struct cr_walk *walk, struct cr_matrix gate_up, struct cr_matrix hidden);

// The input of a layer's head norms in F32, from its `unnormed`.
struct cr_matrix cr_walk_unnormed(struct cr_walk *walk, const struct cr_trace *trace, size_t rows);

// Fills walk->joined with, for each sequence, the prefix and then its rows of `own` [rows,
// 2·kv_heads·head_dim].
void cr_walk_join(struct cr_walk *walk, const struct cr_view *view, const struct cr_layer_prefix *prefix,
                  struct cr_matrix own);

// One layer forward: from residual 2·layer to 2·layer + 2. tuning may be NULL.
enum cr_status cr_walk_layer(struct cr_walk *walk, const struct cr_view *view, size_t layer,
                             const struct cr_layer_tuning *tuning);

// Places in the model where something may be tuned, in order from the embedding (0) to the head, so that "is
// anything tuned below here?" is one comparison.
enum cr_stage { CR_AT_NORM1, CR_AT_QKV, CR_AT_O, CR_AT_NORM2, CR_AT_GATE_UP, CR_AT_DOWN, CR_STAGES };
static inline size_t cr_place_of(size_t layer, enum cr_stage stage)
{
    return 1 + layer * CR_STAGES + (size_t)stage;
}

// The lowest place where something is tuned; SIZE_MAX if nothing is.
size_t cr_walk_lowest(const struct cr_walk *walk, const struct cr_tuned *tuned);

// Whether the layer needs a backward pass: something in it, or below it, is tuned.
static inline bool cr_has_way_back(size_t layer, size_t lowest)
{
    return lowest <= cr_place_of(layer, CR_AT_DOWN);
}

// Runs one layer backward, which must need it (cr_has_way_back): walk->gradient goes from the gradient of
// residual 2·layer + 2 to that of residual 2·layer. Computes nothing below the place `lowest`.
enum cr_status cr_walk_layer_back(struct cr_walk *walk, const struct cr_view *view, size_t layer,
                                  const struct cr_layer_tuning *tuning, size_t lowest);

#endif
