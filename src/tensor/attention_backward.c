// The backward of attention. With S = scale·Q·Kᵀ, P = softmax(S), O = P·V (after FlashAttention-2, Dao 2023,
// algorithm 2): dV = Pᵀ·dO, dP = dO·Vᵀ, dS = P∘(dP − rowsum(dO∘O)), dQ = scale·dS·K, dK = scale·dSᵀ·Q. P is
// computed anew, tile by tile, from the scores and the forward's log_sum.
//
// One item is all of a sequence and a key head, so that dK and dV have one writer.
#include "tensor/attention_tile.h"

#include <string.h>

// One thread's memory.
struct tile {
    struct cr_panels q, q_across, dout, dout_across; // of a tile of queries
    struct cr_panels p_left, ds_left, ds_across;     // of a pair of tiles
    struct cr_panels k, v, k_across;                 // of the first tile of keys; others follow
    size_t k_words, v_words, k_across_words;         // from one tile of keys to the next
    float *scores, *dp;                              // [CR_TILE keys, CR_TILE queries]
    void *p, *ds;                                    // the same, act
    float *dq;                                       // [CR_TILE queries, head_dim]
    float *log_sum, *dot;                            // [CR_TILE queries]
    float *dk, *dv;                                  // [keys, head_dim]
};

static struct cr_panels take_tiles(struct cr_arena *arena, const struct cr_product *product, size_t width,
                                   size_t count, size_t depth, size_t tiles, size_t *words)
{
    struct cr_panels panels = {.panel = width * cr_words(product, depth)};
    *words = cr_items(count, width) * panels.panel;
    panels.words = cr_arena_take(arena, tiles * *words, sizeof *panels.words);
    return panels;
}

static struct tile take_tile(struct cr_arena *arena, const struct cr_product *product, size_t head_dim,
                             enum cr_dtype act, size_t keys)
{
    size_t left = product->left_width, right = product->right_width, tiles = cr_items(keys, CR_TILE);
    struct tile t;
    t.q = cr_panels_take(arena, product, right, CR_TILE, head_dim);
    t.q_across = cr_panels_take(arena, product, right, head_dim, CR_TILE);
    t.dout = cr_panels_take(arena, product, right, CR_TILE, head_dim);
    t.dout_across = cr_panels_take(arena, product, right, head_dim, CR_TILE);
    t.p_left = cr_panels_take(arena, product, left, CR_TILE, CR_TILE);
    t.ds_left = cr_panels_take(arena, product, left, CR_TILE, CR_TILE);
    t.ds_across = cr_panels_take(arena, product, left, CR_TILE, CR_TILE);
    t.k = take_tiles(arena, product, left, CR_TILE, head_dim, tiles, &t.k_words);
    t.v = take_tiles(arena, product, left, CR_TILE, head_dim, tiles, &t.v_words);
    t.k_across = take_tiles(arena, product, right, head_dim, CR_TILE, tiles, &t.k_across_words);
    t.scores = cr_arena_take(arena, CR_TILE * CR_TILE, sizeof(float));
    t.dp = cr_arena_take(arena, CR_TILE * CR_TILE, sizeof(float));
    t.p = cr_arena_take(arena, CR_TILE * CR_TILE, cr_dtype_size(act));
    t.ds = cr_arena_take(arena, CR_TILE * CR_TILE, cr_dtype_size(act));
    t.dq = cr_arena_take(arena, CR_TILE * head_dim, sizeof(float));
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

static struct cr_panels panels_of_tile(struct cr_panels panels, size_t words, size_t tile)
{
    panels.words += tile * words;
    return panels;
}

// Everything one tile of queries and one tile of keys (the j-th) have to do with each other.
static void differentiate_pair(const struct cr_attention_call *call, struct tile *t, size_t queries, size_t j,
                               size_t keys, ptrdiff_t first)
{
    size_t head_dim = call->shape->head_dim, left = call->product->left_width;
    cr_multiply(call, keys, queries, head_dim, panels_of_tile(t->k, t->k_words, j), t->q, t->scores, CR_TILE,
                false);
    cr_multiply(call, keys, queries, head_dim, panels_of_tile(t->v, t->v_words, j), t->dout, t->dp, CR_TILE,
                false);
    call->kernels->gradient_tile(&(struct cr_gradient_tile){
        .keys = keys,
        .queries = queries,
        .stride = CR_TILE,
        .first = first,
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
    cr_pack(call, left, t->p, CR_TILE, true, keys, queries, t->p_left);
    cr_multiply(call, keys, head_dim, queries, t->p_left, t->dout_across, dv, head_dim, true);
    cr_pack(call, left, t->ds, CR_TILE, true, keys, queries, t->ds_left);
    cr_multiply(call, keys, head_dim, queries, t->ds_left, t->q_across, dk, head_dim, true);
    cr_pack(call, left, t->ds, CR_TILE, false, queries, keys, t->ds_across);
    cr_multiply(call, queries, head_dim, keys, t->ds_across,
                panels_of_tile(t->k_across, t->k_across_words, j), t->dq, head_dim, true);
}

static void differentiate_queries(const struct cr_attention_call *call, struct tile *t, size_t s, size_t head,
                                  size_t start)
{
    const struct cr_attention_layout *layout = call->layout;
    size_t head_dim = call->shape->head_dim, right = call->product->right_width, past = layout->past[s];
    size_t length = layout->offset[s + 1] - layout->offset[s], queries = cr_least(CR_TILE, length - start);
    size_t row = layout->offset[s] + start, column = head * head_dim;
    const void *q = cr_at(&call->q, row, column), *dout = cr_at(&call->dout, row, column);
    cr_pack(call, right, q, call->q.stride, true, queries, head_dim, t->q);
    cr_pack(call, right, q, call->q.stride, false, head_dim, queries, t->q_across);
    cr_pack(call, right, dout, call->dout.stride, true, queries, head_dim, t->dout);
    cr_pack(call, right, dout, call->dout.stride, false, head_dim, queries, t->dout_across);
    for (size_t c = 0; c < queries; c++) {
        t->log_sum[c] = call->given_log_sum[(row + c) * call->shape->heads + head];
        t->dot[c] = call->kernels->dot(cr_at(&call->out, row + c, column),
                                       cr_at(&call->dout, row + c, column), call->q.dtype, head_dim);
    }
    memset(t->dq, 0, queries * head_dim * sizeof *t->dq);
    size_t seen = past + start + queries;
    for (size_t j = 0; j * CR_TILE < seen; j++)
        differentiate_pair(call, t, queries, j, cr_least(CR_TILE, seen - j * CR_TILE),
                           (ptrdiff_t)(past + start) - (ptrdiff_t)(j * CR_TILE));
    for (size_t c = 0; c < queries; c++)
        call->kernels->convert(t->dq + c * head_dim, CR_F32, cr_at(&call->dq, row + c, column),
                               call->dq.dtype, head_dim);
}

static void differentiate_item(void *context, size_t item, size_t thread)
{
    const struct cr_attention_call *call = context;
    const struct cr_attention_layout *layout = call->layout;
    size_t s = item / call->shape->kv_heads, kv_head = item % call->shape->kv_heads;
    size_t head_dim = call->shape->head_dim, column = kv_head * head_dim, keys = cr_attention_keys(layout, s);
    const struct cr_product *product = call->product;
    struct cr_arena arena = {call->scratch + thread * call->scratch_size, call->scratch_size, 0};
    struct tile t = take_tile(&arena, product, head_dim, call->q.dtype, keys);
    for (size_t j = 0; j * CR_TILE < keys; j++) {
        size_t here = cr_least(CR_TILE, keys - j * CR_TILE), row = layout->key_offset[s] + j * CR_TILE;
        const void *k = cr_at(&call->k, row, column), *v = cr_at(&call->v, row, column);
        cr_pack(call, product->left_width, k, call->k.stride, true, here, head_dim,
                panels_of_tile(t.k, t.k_words, j));
        cr_pack(call, product->left_width, v, call->v.stride, true, here, head_dim,
                panels_of_tile(t.v, t.v_words, j));
        cr_pack(call, product->right_width, k, call->k.stride, false, head_dim, here,
                panels_of_tile(t.k_across, t.k_across_words, j));
    }
    memset(t.dk, 0, keys * head_dim * sizeof *t.dk);
    memset(t.dv, 0, keys * head_dim * sizeof *t.dv);
    size_t group = call->shape->heads / call->shape->kv_heads;
    for (size_t head = kv_head * group; head < (kv_head + 1) * group; head++)
        for (size_t start = 0; start < layout->offset[s + 1] - layout->offset[s]; start += CR_TILE)
            differentiate_queries(call, &t, s, head, start);
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
        .product = q.dtype == CR_BF16 ? &kernels->bf16 : &kernels->f32,
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
    for (size_t s = 0; s < layout->sequences; s++) {
        size_t keys = cr_attention_keys(layout, s);
        if (keys > longest) longest = keys;
    }
    call.scratch_size = cr_attention_backward_size(call.product, shape->head_dim, q.dtype, longest);
    cr_pool_run(cr_compute_pool(compute), layout->sequences * shape->kv_heads, differentiate_item, &call);
    return CR_OK;
}
