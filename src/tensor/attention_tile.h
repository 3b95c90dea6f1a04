// What the forward and the backward of attention share: tiles of queries and keys. Internal to tensor/.
//
// Scores are computed transposed, keys down and queries across, so that the maximum and the sum over keys are
// vector operations. Results that have queries across as well are transposed once, at their end.
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
    float *log_sum;             // written by the forward
    const float *given_log_sum; // read by the backward
    unsigned char *scratch;
    size_t scratch_size; // of one thread
};

// A packed right operand.
struct cr_panels {
    uint32_t *words;
    size_t panel; // words from one panel to the next
};

// Room for `count` columns of `depth` elements.
static inline struct cr_panels cr_panels_take(struct cr_arena *arena, const struct cr_product *product,
                                              size_t count, size_t depth)
{
    struct cr_panels panels = {.panel = product->right_width * cr_words(product, depth)};
    panels.words =
        cr_arena_take(arena, cr_items(count, product->right_width) * panels.panel, sizeof *panels.words);
    return panels;
}

static inline void cr_pack_right(const struct cr_attention_call *call, const void *source, size_t stride,
                                 bool along, size_t count, size_t depth, struct cr_panels panels)
{
    call->product->pack_right(source, call->q.dtype, stride, along, count, depth, panels.words, panels.panel);
}

// A left operand, in place or packed.
struct cr_left {
    const void *words;
    size_t stride; // bytes
};

// `count` rows of `depth` elements; `space` has room for them.
static inline struct cr_left cr_left_of(const struct cr_attention_call *call, const void *source,
                                        size_t stride, bool along, size_t count, size_t depth,
                                        uint32_t *space)
{
    enum cr_dtype act = call->q.dtype;
    if (cr_left_in_place(call->product, act, along, depth))
        return (struct cr_left){source, stride * cr_dtype_size(act)};
    size_t words = cr_words(call->product, depth);
    call->product->pack_left(source, act, stride, along, count, depth, space, words);
    return (struct cr_left){space, words * sizeof *space};
}

// target (F32) = left·right, or with `add` target += left·right.
static inline void cr_multiply(const struct cr_attention_call *call, size_t rows, size_t columns,
                               size_t depth, struct cr_left left, struct cr_panels right, float *target,
                               size_t stride, bool add)
{
    struct cr_ends ends = {add ? target : NULL, CR_F32, stride, target, CR_F32, stride, NULL};
    call->product->multiply(rows, columns, cr_words(call->product, depth), left.words, left.stride,
                            right.words, right.panel, &ends);
}

// The number of a tile's keys up to the last one that any of `n` queries sees; all of them if none is seen.
static inline size_t cr_keys_seen(size_t keys, ptrdiff_t first, size_t n)
{
    ptrdiff_t seen = first + (ptrdiff_t)n;
    return seen > 0 ? cr_least(keys, (size_t)seen) : keys;
}

// How many queries share one count of keys: those of a panel, or the whole tile if each sees every key.
static inline size_t cr_seen_width(const struct cr_attention_call *call, size_t keys, size_t queries,
                                   ptrdiff_t first)
{
    return first + 1 >= (ptrdiff_t)keys ? queries : call->product->right_width;
}

// target [keys, queries] = left [keys, depth]·right [depth, queries]. What is below the last key that a panel
// of queries sees is not written.
static inline void cr_multiply_seen(const struct cr_attention_call *call, size_t keys, size_t queries,
                                    size_t depth, ptrdiff_t first, struct cr_left left,
                                    struct cr_panels right, float *target)
{
    size_t width = cr_seen_width(call, keys, queries, first);
    for (size_t c = 0; c < queries; c += width, right.words += right.panel)
        cr_multiply(call, cr_keys_seen(keys, first, c + width), cr_least(width, queries - c), depth, left,
                    right, target + c, CR_TILE, false);
}

// target [rows, queries] += left [rows, keys]·right [keys, queries], where right is zero for the keys that a
// query does not see.
static inline void cr_add_seen(const struct cr_attention_call *call, size_t rows, size_t queries, size_t keys,
                               ptrdiff_t first, struct cr_left left, struct cr_panels right, float *target)
{
    size_t width = cr_seen_width(call, keys, queries, first);
    for (size_t c = 0; c < queries; c += width, right.words += right.panel)
        cr_multiply(call, rows, cr_least(width, queries - c), cr_keys_seen(keys, first, c + width), left,
                    right, target + c, CR_TILE, true);
}

// The tile with the first key that a query at this place of its sequence sees.
static inline size_t cr_first_tile(const struct cr_attention_shape *shape, size_t place)
{
    return shape->window == 0 || place < shape->window ? 0 : (place - shape->window + 1) / CR_TILE;
}

// Bytes of scratch that one thread needs in the backward.
size_t cr_attention_backward_size(const struct cr_product *product, size_t head_dim, enum cr_dtype act,
                                  size_t longest);

// Refuses shapes and types that forward and backward cannot take.
enum cr_status cr_attention_check(const struct cr_attention_call *call);

#endif
