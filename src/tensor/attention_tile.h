// What the forward and the backward of attention share: tiles of queries and keys. Internal to tensor/.
//
// Scores are computed transposed, keys down and queries across: the maximum and the sum over keys are then
// sums of vectors, and the probabilities are already in the order in which the next product reads them.
#ifndef CARREL_TENSOR_ATTENTION_TILE_H
#define CARREL_TENSOR_ATTENTION_TILE_H

#include "tensor/attention.h"
#include "tensor/split.h"

enum { CR_TILE = 64 }; // queries and keys of a tile

struct cr_attention_call {
    struct cr_compute *compute;
    const struct cr_kernels *kernels;
    const struct cr_product *product;
    const struct cr_attention_shape *shape;
    const struct cr_attention_layout *layout;
    struct cr_matrix q, k, v, out, dout, dq, dk, dv;
    float *log_sum;             // of the forward
    const float *given_log_sum; // of the backward
    unsigned char *scratch;
    size_t scratch_size; // of one thread
};

// One operand, packed for a product.
struct cr_panels {
    uint32_t *words;
    size_t panel; // words from one panel to the next
};

// Words that hold `depth` elements.
static inline size_t cr_words(const struct cr_product *product, size_t depth)
{
    return (depth + product->per_word - 1) / product->per_word;
}

// Room for panels of `width` rows or columns.
static inline struct cr_panels cr_panels_take(struct cr_arena *arena, const struct cr_product *product,
                                              size_t width, size_t count, size_t depth)
{
    struct cr_panels panels = {.panel = width * cr_words(product, depth)};
    panels.words = cr_arena_take(arena, (count + width - 1) / width * panels.panel, sizeof *panels.words);
    return panels;
}

static inline void cr_pack(const struct cr_attention_call *call, size_t width, const void *source,
                           size_t stride, bool along, size_t count, size_t depth, struct cr_panels panels)
{
    call->product->pack(source, call->q.dtype, stride, along, count, depth, width, panels.words,
                        panels.panel);
}

// target (F32) = left·right, added to what is there where `add`.
static inline void cr_multiply(const struct cr_attention_call *call, size_t rows, size_t columns,
                               size_t depth, struct cr_panels left, struct cr_panels right, float *target,
                               size_t stride, bool add)
{
    struct cr_ends ends = {add ? target : NULL, CR_F32, stride, target, CR_F32, stride};
    call->product->multiply(rows, columns, cr_words(call->product, depth), left.words, left.panel,
                            right.words, right.panel, &ends);
}

// Keys of sequence s.
static inline size_t cr_attention_keys(const struct cr_attention_layout *layout, size_t s)
{
    return layout->past[s] + layout->offset[s + 1] - layout->offset[s];
}

// Bytes of scratch of one thread in the backward.
size_t cr_attention_backward_size(const struct cr_product *product, size_t head_dim, enum cr_dtype act,
                                  size_t longest);

// Refuses shapes and types that forward and backward cannot take.
enum cr_status cr_attention_check(const struct cr_attention_call *call);

#endif
