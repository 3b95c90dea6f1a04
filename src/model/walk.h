// The memory and the steps of a walk through the layers, shared by training passes and decoders. Private to
// model/.
//
// Notation: M rows of the batch, L layers, d hidden, F intermediate, V vocabulary; "act" is the model's
// activation type.
#ifndef CARREL_MODEL_WALK_H
#define CARREL_MODEL_WALK_H

#include "model/keep.h"
#include "model/model.h"
#include "tensor/attention.h"

// What one layer leaves for its way back.
struct cr_trace {
    struct cr_matrix qkv;      // [M, (heads + 2·kv_heads)·head_dim] act, q and k rotated
    struct cr_matrix attended; // [M, heads·head_dim] act
    struct cr_matrix gate_up;  // [M, 2F] act, [M, F] with gelu; the way back turns it into its gradient
    float *log_sum;            // [M, heads], see cr_attention
    float *norm1, *norm2;      // statistics of the two norms, see cr_norm_statistics
    // Of head norms: [M, (heads + kv_heads)·head_dim] act, q and k before them, and [heads + kv_heads, M].
    struct cr_matrix unnormed;
    float *head_inverse;
};

// Keys and values of one layer's past, [texts·context, kv_heads·head_dim] act.
struct cr_cache {
    struct cr_matrix k, v;
};

struct cr_walk_size {
    size_t first, last;     // layers [first, last); the head belongs to those that end with the model
    size_t rows, sequences; // of a batch, at most
    size_t positions;       // of a sequence, at most
    size_t prefix;          // rows of keys and values before a sequence's own
    bool decodes;           // keys and values of the past are in walk->caches
    bool backward;          // keep what the way back needs
    bool outside;           // all but one layer's share of that lies elsewhere (model/keep.h)
};

struct cr_walk {
    const struct cr_model *model;
    struct cr_walk_size size;
    struct cr_arena arena;
    struct cr_attention_shape shape;

    float *cosine, *sine;      // [positions, head_dim/2]: row p is of place prefix + p
    struct cr_matrix residual; // [buffers][rows, d] F32, see cr_walk_residual
    struct cr_trace *traces;   // [last − first with backward, else 1], see cr_walk_trace
    struct cr_cache *caches;   // [last − first], or NULL; the decoder's
    size_t *past;              // [sequences], the prefix, to which a decoder adds
    size_t *key_offset;        // [sequences], where a sequence's keys start
    struct cr_matrix gradient; // [rows, d] F32: of the residual stream

    // Work space of a layer: `hidden` lies where the attention has what it alone uses.
    struct cr_matrix normed;   // [rows, d] act: a norm's output, on the way back its gradient too
    struct cr_matrix upstream; // [rows, d] act: the stream's gradient as products take it (not in F32 models)
    struct cr_matrix hidden;   // [rows, F] act: the activation's output, on the way back its gradient too
    struct cr_matrix dattended; // [rows, heads·head_dim] act
    struct cr_matrix dqkv;      // like qkv
    // Of head norms, [rows, (heads + kv_heads)·head_dim] F32: `unnormed` (not in F32 models), its gradient.
    struct cr_matrix exact, dexact;
    // Of a prefix, without a cache: [rows + sequences·prefix, 2·kv_heads·head_dim] act, keys and values of
    // each sequence after those of the prefix, and their gradient.
    struct cr_matrix joined, djoined;
    void *attention_scratch;
    float *sum; // [rows, inputs of a linear]: a gradient that several terms are added to

    // Work space of the head, for `chunk` rows at a time, where last = L. It shares its memory with a
    // layer's.
    size_t chunk;
    uint32_t *head_row;             // [chunk]: which rows
    int32_t *head_label;            // [chunk]
    struct cr_matrix head_input;    // [chunk, d] F32: the stream
    struct cr_matrix head_normed;   // [chunk, d] act: the norm's output, on the way back its gradient too
    struct cr_matrix head_gradient; // [chunk, d] F32
    struct cr_matrix head_logits;   // [chunk, V] F32, not a decoder's
    struct cr_matrix head_dlogits;  // [chunk, V] act, in the place of the logits
    float *head_norm;               // statistics of the final norm
    float *head_loss;               // [chunk]
    bool *head_correct;             // [chunk]
    bool *right;                    // [rows]: what a loss tells of each row
    float *loss;                    // [rows]
};

// A batch on its way. The arrays are the caller's.
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

// The batch's tokens, with their learned positions where the model has them, as the first residual stream.
void cr_walk_embed(struct cr_walk *walk, const struct cr_view *view, const uint32_t *tokens);

// The residual stream before layer i/2 (i even) or between its two halves (i odd), for i in [2·first,
// 2·last]. All are there with `backward`. Without it two buffers take turns, and with `outside` two for the
// even ones, so that what comes in and what goes out of a layer are there, and one between.
struct cr_matrix cr_walk_residual(const struct cr_walk *walk, size_t i, size_t rows);

// What the layer leaves; all layers' in turn without `backward` and with `outside`.
struct cr_trace *cr_walk_trace(const struct cr_walk *walk, size_t layer);

// What the way back of a layer needs of its way there, for so many rows of the batch. Returns how many parts.
size_t cr_walk_parts(const struct cr_walk *walk, size_t layer, size_t rows,
                     struct cr_keep_part parts[CR_KEEP_PARTS]);

// What is tuned of these modules, each with its columns of their linear's y (or dy). Returns how many;
// `tuning` may be NULL.
size_t cr_walk_deltas(const struct cr_walk *walk, const struct cr_layer_tuning *tuning,
                      struct cr_modules modules, struct cr_matrix y, struct cr_delta_part parts[CR_MODULES]);

// The attention of a layer, its window included.
struct cr_attention_shape cr_walk_shape(const struct cr_walk *walk, size_t layer);

// hidden = the activation of gate_up: SwiGLU or gelu.
void cr_walk_activate(const struct cr_walk *walk, struct cr_matrix gate_up, struct cr_matrix hidden);

// What the head norms of a layer take: its `unnormed` in F32.
struct cr_matrix cr_walk_unnormed(struct cr_walk *walk, const struct cr_trace *trace, size_t rows);

// Fills walk->joined with the prefix and what `own` [rows, 2·kv_heads·head_dim] has of each sequence.
void cr_walk_join(struct cr_walk *walk, const struct cr_view *view, const struct cr_layer_prefix *prefix,
                  struct cr_matrix own);

// One layer forward: from residual 2·layer to 2·layer + 2. tuning may be NULL.
enum cr_status cr_walk_layer(struct cr_walk *walk, const struct cr_view *view, size_t layer,
                             const struct cr_layer_tuning *tuning);

// Where in the model something is tuned: an order from the embedding (0) to the head, so that "is anything
// tuned below here?" is one comparison.
enum cr_stage { CR_AT_NORM1, CR_AT_QKV, CR_AT_O, CR_AT_NORM2, CR_AT_GATE_UP, CR_AT_DOWN, CR_STAGES };
static inline size_t cr_place_of(size_t layer, enum cr_stage stage)
{
    return 1 + layer * CR_STAGES + (size_t)stage;
}

// The lowest place where something is tuned; SIZE_MAX where nothing is.
size_t cr_walk_lowest(const struct cr_walk *walk, const struct cr_tuned *tuned);

// Whether anything of the layer, or below it, is tuned.
static inline bool cr_has_way_back(size_t layer, size_t lowest)
{
    return lowest <= cr_place_of(layer, CR_AT_DOWN);
}

// One layer back, which has a way back: walk->gradient from that of residual 2·layer + 2 to that of 2·layer,
// no further down than `lowest`.
enum cr_status cr_walk_layer_back(struct cr_walk *walk, const struct cr_view *view, size_t layer,
                                  const struct cr_layer_tuning *tuning, size_t lowest);

#endif
