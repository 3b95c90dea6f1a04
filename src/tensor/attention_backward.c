// The backward of attention. With S = scale·Q·Kᵀ, P = softmax(S), O = P·V (after FlashAttention-2, Dao 2023,
// algorithm 2): dV = Pᵀ·dO, dP = dO·Vᵀ, dS = P∘(dP − rowsum(dO∘O)), dQ = scale·dS·K, dK = scale·dSᵀ·Q. P is
// computed anew, tile by tile, from the scores and the forward's log_sum.
//
// One item is a sequence and a key head, so that only one thread writes their dK and dV.
#include "tensor/attention_tile.h"

#include <string.h>

// One thread's memory.
struct tile {
    struct cr_panels q, q_across, dout, dout_across; // of a tile of queries
    uint32_t *k, *v;                                 // [keys, words of head_dim], left operands
    uint32_t *k_across;                              // [head_dim, words of CR_TILE] of each tile of keys
    uint32_t *left;                                  // a left operand that cannot be used in place
    float *scores, *dp;                              // [CR_TILE keys, CR_TILE queries]
    void *p, *ds;                                    // of the same shape, act
    struct cr_panels ds_across;
    float *dq;            // [head_dim, CR_TILE queries]
    float *log_sum, *dot; // [CR_TILE queries]
    float *dk, *dv;       // [keys, head_dim]
};

static struct tile take_tile(struct cr_arena *arena, const struct cr_product *product, size_t head_dim,
                             enum cr_dtype act, size_t keys)
{
    struct tile t;
    t.q = cr_panels_take(arena, product, CR_TILE, head_dim);
    t.q_across = cr_panels_take(arena, product, head_dim, CR_TILE);
    t.dout = cr_panels_take(arena, product, CR_TILE, head_dim);
    t.dout_across = cr_panels_take(arena, product, head_dim, CR_TILE);
    t.k = cr_arena_take(arena, keys * cr_words(product, head_dim), sizeof *t.k);
    t.v = cr_arena_take(arena, keys * cr_words(product, head_dim), sizeof *t.v);
    t.k_across = cr_arena_take(arena, cr_items(keys, CR_TILE) * head_dim * cr_words(product, CR_TILE),
                               sizeof *t.k_across);
    t.left = cr_arena_take(arena, CR_TILE * CR_TILE, sizeof *t.left);
    t.scores = cr_arena_take(arena, CR_TILE * CR_TILE, sizeof(float));
    t.dp = cr_arena_take(arena, CR_TILE * CR_TILE, sizeof(float));
    t.p = cr_arena_take(arena, CR_TILE * CR_TILE, cr_dtype_size(act));
    t.ds = cr_arena_take(arena, CR_TILE * CR_TILE, cr_dtype_size(act));
    t.ds_across = cr_panels_take(arena, product, CR_TILE, CR_TILE);
    t.dq = cr_arena_take(arena, head_dim * CR_TILE, sizeof(float));
    t.log_sum = cr_arena_take(arena, CR_TILE, sizeof(float));
    t.dot = cr_arena_take(arena, CR_TILE, sizeof(float));
    t.dk = cr_arena_take(arena, keys * head_dim, sizeof(float));
    t.dv = cr_arena_take(arena, keys * head_dim, sizeof(float));
    return t;
}

size_t cr_attention_backward_size(const struct cr_product *product, size_t head_dim, enum cr_dtype act,
                                  size_t longest)
{
    struct cr_arena count = {0};
    (void)take_tile(&count, product, head_dim, act, longest);
    return count.used;
}

// The number of keys of sequence s.
static size_t keys_of(const struct cr_attention_layout *layout, size_t s)
{
    return layout->past[s] + layout->offset[s + 1] - layout->offset[s];
}

static struct cr_left k_across_of(const struct cr_attention_call *call, const struct tile *t, size_t j)
{
    size_t words = cr_words(call->product, CR_TILE);
    return (struct cr_left){t->k_across + j * call->shape->head_dim * words, words * sizeof *t->k_across};
}

// The contributions of one tile of queries and one tile of keys, the j-th, to all gradients.
static void differentiate_pair(const struct cr_attention_call *call, struct tile *t, size_t queries, size_t j,
                               size_t keys, ptrdiff_t first)
{
    size_t head_dim = call->shape->head_dim, words = cr_words(call->product, head_dim);
    struct cr_left k = {t->k + j * CR_TILE * words, words * sizeof *t->k};
    struct cr_left v = {t->v + j * CR_TILE * words, words * sizeof *t->v};
    cr_multiply_seen(call, keys, queries, head_dim, first, k, t->q, t->scores);
    cr_multiply_seen(call, keys, queries, head_dim, first, v, t->dout, t->dp);
    call->kernels->gradient_tile(&(struct cr_gradient_tile){
        .keys = keys,
        .queries = queries,
        .stride = CR_TILE,
        .first = first,
        .window = call->shape->window,
        .scale = call->shape->scale,
        .scores = t->scores,
        .dp = t->dp,
        .log_sum = t->log_sum,
        .dot = t->dot,
        .p = t->p,
        .ds = t->ds,
        .dtype = call->q.dtype,
    });
    float *dk = t->dk + j * CR_TILE * head_dim, *dv = t->dv + j * CR_TILE * head_dim;
    // p and ds hold zeros there, so they may be used in place whatever `queries` is.
    size_t filled = cr_words(call->product, queries) * call->product->per_word;
    cr_multiply(call, keys, head_dim, queries, cr_left_of(call, t->p, CR_TILE, true, keys, filled, t->left),
                t->dout_across, dv, head_dim, true);
    cr_multiply(call, keys, head_dim, queries, cr_left_of(call, t->ds, CR_TILE, true, keys, filled, t->left),
                t->q_across, dk, head_dim, true);
    cr_pack_right(call, t->ds, CR_TILE, false, queries, keys, t->ds_across);
    cr_add_seen(call, head_dim, queries, keys, first, k_across_of(call, t, j), t->ds_across, t->dq);
}

static void differentiate_queries(const struct cr_attention_call *call, struct tile *t, size_t s, size_t head,
                                  size_t start)
{
    const struct cr_attention_layout *layout = call->layout;
    size_t head_dim = call->shape->head_dim, past = layout->past[s];
    size_t length = layout->offset[s + 1] - layout->offset[s], queries = cr_least(CR_TILE, length - start);
    size_t row = layout->offset[s] + start, column = head * head_dim;
    const void *q = cr_at(&call->q, row, column), *dout = cr_at(&call->dout, row, column);
    cr_pack_right(call, q, call->q.stride, true, queries, head_dim, t->q);
    cr_pack_right(call, q, call->q.stride, false, head_dim, queries, t->q_across);
    cr_pack_right(call, dout, call->dout.stride, true, queries, head_dim, t->dout);
    cr_pack_right(call, dout, call->dout.stride, false, head_dim, queries, t->dout_across);
    for (size_t c = 0; c < queries; c++) {
        t->log_sum[c] = call->given_log_sum[(row + c) * call->shape->heads + head];
        t->dot[c] = call->kernels->dot(cr_at(&call->out, row + c, column),
                                       cr_at(&call->dout, row + c, column), call->q.dtype, head_dim);
    }
    memset(t->dq, 0, head_dim * CR_TILE * sizeof *t->dq);
    size_t seen = past + start + queries;
    for (size_t j = cr_first_tile(call->shape, past + start); j * CR_TILE < seen; j++)
        differentiate_pair(call, t, queries, j, cr_least(CR_TILE, seen - j * CR_TILE),
                           (ptrdiff_t)(past + start) - (ptrdiff_t)(j * CR_TILE));
    call->kernels->transpose(t->dq, CR_TILE, head_dim, queries, NULL, cr_at(&call->dq, row, column),
                             call->dq.dtype, call->dq.stride);
}

static void differentiate_item(void *context, size_t item, size_t thread)
{
    const struct cr_attention_call *call = context;
    const struct cr_attention_layout *layout = call->layout;
    size_t s = item / call->shape->kv_heads, kv_head = item % call->shape->kv_heads;
    size_t head_dim = call->shape->head_dim, column = kv_head * head_dim, keys = keys_of(layout, s);
    struct cr_arena arena = {call->scratch + thread * call->scratch_size, call->scratch_size, 0};
    struct tile t = take_tile(&arena, call->product, head_dim, call->q.dtype, keys);
    const void *k = cr_at(&call->k, layout->key_offset[s], column);
    const void *v = cr_at(&call->v, layout->key_offset[s], column);
    // Rows of a wide matrix are far apart, and these are read many times: they are packed once.
    size_t words = cr_words(call->product, head_dim), across = cr_words(call->product, CR_TILE);
    call->product->pack_left(k, call->k.dtype, call->k.stride, true, keys, head_dim, t.k, words);
    call->product->pack_left(v, call->v.dtype, call->v.stride, true, keys, head_dim, t.v, words);
    for (size_t j = 0; j * CR_TILE < keys; j++)
        call->product->pack_left(cr_at(&call->k, layout->key_offset[s] + j * CR_TILE, column), call->k.dtype,
                                 call->k.stride, false, head_dim, cr_least(CR_TILE, keys - j * CR_TILE),
                                 t.k_across + j * head_dim * across, across);
    memset(t.dk, 0, keys * head_dim * sizeof *t.dk);
    memset(t.dv, 0, keys * head_dim * sizeof *t.dv);
    size_t group = call->shape->heads / call->shape->kv_heads;
    cr_product_enter(call->product);
    for (size_t head = kv_head * group; head < (kv_head + 1) * group; head++)
        for (size_t start = 0; start < layout->offset[s + 1] - layout->offset[s]; start += CR_TILE)
            differentiate_queries(call, &t, s, head, start);
    cr_product_leave(call->product);
    for (size_t i = 0; i < keys; i++) {
        size_t row = layout->key_offset[s] + i;
        call->kernels->convert(t.dk + i * head_dim, CR_F32, cr_at(&call->dk, row, column), call->dk.dtype,
                               head_dim);
        call->kernels->convert(t.dv + i * head_dim, CR_F32, cr_at(&call->dv, row, column), call->dv.dtype,
                               head_dim);
    }
}

enum cr_status cr_attention_backward(struct cr_compute *compute, const struct cr_attention_shape *shape,
                                     const struct cr_attention_layout *layout, struct cr_matrix q,
                                     struct cr_matrix k, struct cr_matrix v, struct cr_matrix out,
                                     const float *log_sum, struct cr_matrix dout, struct cr_matrix dq,
                                     struct cr_matrix dk, struct cr_matrix dv, void *scratch)
{
    const struct cr_kernels *kernels = cr_compute_kernels(compute);
    struct cr_attention_call call = {
        .compute = compute,
        .kernels = kernels,
        .product = cr_product_of(kernels, q.dtype),
        .shape = shape,
        .layout = layout,
        .q = q,
        .k = k,
        .v = v,
        .out = out,
        .dout = dout,
        .dq = dq,
        .dk = dk,
        .dv = dv,
        .given_log_sum = log_sum,
        .scratch = scratch,
    };
    CR_TRY(cr_attention_check(&call));
    if (dout.dtype != q.dtype)
        return cr_fail(CR_INTERNAL, "attention is over F32 or BF16, one for all operands");
    size_t longest = 0;
    for (size_t s = 0; s < layout->sequences; s++) longest = cr_most(longest, keys_of(layout, s));
    call.scratch_size = cr_attention_backward_size(call.product, shape->head_dim, q.dtype, longest);
    cr_pool_run(cr_compute_pool(compute), layout->sequences * shape->kv_heads, differentiate_item, &call);
    return CR_OK;
}
