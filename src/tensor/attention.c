#include "tensor/attention.h"

#include "tensor/attention_tile.h"

#include <float.h>
#include <math.h>
#include <string.h>

enum { TOGETHER = 4 }; // tiles of queries for which a tile of keys is used while it is at hand

// A tile of queries and its running softmax.
struct queries {
    struct cr_panels q;
    float *result;  // [head_dim, CR_TILE queries]
    float *maximum; // [CR_TILE queries] each
    float *sum;
};

// One thread's memory.
struct tile {
    struct queries queries[TOGETHER];
    uint32_t *k, *v; // packed left operands: K, and V transposed
    float *scores;   // [CR_TILE keys, CR_TILE queries]
    void *p;         // of the same shape, act
    struct cr_panels p_across;
};

static struct tile take_tile(struct cr_arena *arena, const struct cr_product *product, size_t head_dim,
                             enum cr_dtype act)
{
    struct tile t;
    for (size_t i = 0; i < TOGETHER; i++) {
        t.queries[i].q = cr_panels_take(arena, product, CR_TILE, head_dim);
        t.queries[i].result = cr_arena_take(arena, head_dim * CR_TILE, sizeof(float));
        t.queries[i].maximum = cr_arena_take(arena, CR_TILE, sizeof(float));
        t.queries[i].sum = cr_arena_take(arena, CR_TILE, sizeof(float));
    }
    t.k = cr_arena_take(arena, CR_TILE * cr_words(product, head_dim), sizeof *t.k);
    t.v = cr_arena_take(arena, head_dim * cr_words(product, CR_TILE), sizeof *t.v);
    t.scores = cr_arena_take(arena, CR_TILE * CR_TILE, sizeof(float));
    t.p = cr_arena_take(arena, CR_TILE * CR_TILE, cr_dtype_size(act));
    t.p_across = cr_panels_take(arena, product, CR_TILE, CR_TILE);
    return t;
}

static size_t tile_size(const struct cr_product *product, size_t head_dim, enum cr_dtype act)
{
    struct cr_arena count = {0};
    (void)take_tile(&count, product, head_dim, act);
    return count.used;
}

// Adds one tile of keys to the running softmax of a tile of queries.
static void add_keys(const struct cr_attention_call *call, struct tile *t, struct queries *to, size_t queries,
                     size_t keys, ptrdiff_t first, struct cr_left k, struct cr_left v)
{
    size_t head_dim = call->shape->head_dim;
    cr_multiply_seen(call, keys, queries, head_dim, first, k, to->q, t->scores);
    call->kernels->softmax_tile(&(struct cr_softmax_tile){
        .keys = keys,
        .queries = queries,
        .stride = CR_TILE,
        .first = first,
        .window = call->shape->window,
        .scale = call->shape->scale,
        .scores = t->scores,
        .maximum = to->maximum,
        .sum = to->sum,
        .p = t->p,
        .dtype = call->q.dtype,
        .result = to->result,
        .depth = head_dim,
    });
    cr_pack_right(call, t->p, CR_TILE, false, queries, keys, t->p_across);
    cr_add_seen(call, head_dim, queries, keys, first, v, t->p_across, to->result);
}

// Attention of one head for up to TOGETHER tiles of queries, from place `start` of sequence s.
static void attend(const struct cr_attention_call *call, struct tile *t, size_t s, size_t head, size_t start)
{
    const struct cr_attention_layout *layout = call->layout;
    const struct cr_attention_shape *shape = call->shape;
    size_t head_dim = shape->head_dim, past = layout->past[s];
    size_t count = cr_least(TOGETHER * CR_TILE, layout->offset[s + 1] - layout->offset[s] - start);
    size_t row = layout->offset[s] + start, column = head * head_dim;
    size_t kv_column = head / (shape->heads / shape->kv_heads) * head_dim;
    for (size_t c = 0; c < count; c += CR_TILE) {
        struct queries *to = &t->queries[c / CR_TILE];
        cr_pack_right(call, cr_at(&call->q, row + c, column), call->q.stride, true,
                      cr_least(CR_TILE, count - c), head_dim, to->q);
        for (size_t i = 0; i < CR_TILE; i++) {
            to->maximum[i] = -FLT_MAX;
            to->sum[i] = 0;
        }
        memset(to->result, 0, head_dim * CR_TILE * sizeof *to->result);
    }
    size_t place = past + start, seen = place + count; // by the last query
    for (size_t key = cr_first_tile(shape, place) * CR_TILE; key < seen; key += CR_TILE) {
        size_t keys = cr_least(CR_TILE, seen - key), key_row = layout->key_offset[s] + key;
        struct cr_left k =
            cr_left_of(call, cr_at(&call->k, key_row, kv_column), call->k.stride, true, keys, head_dim, t->k);
        struct cr_left v = cr_left_of(call, cr_at(&call->v, key_row, kv_column), call->v.stride, false,
                                      head_dim, keys, t->v);
        for (size_t c = 0; c < count; c += CR_TILE) {
            size_t queries = cr_least(CR_TILE, count - c);
            if (key < place + c + queries && key / CR_TILE >= cr_first_tile(shape, place + c))
                add_keys(call, t, &t->queries[c / CR_TILE], queries, keys,
                         (ptrdiff_t)(place + c) - (ptrdiff_t)key, k, v);
        }
    }
    for (size_t c = 0; c < count; c += CR_TILE) {
        struct queries *to = &t->queries[c / CR_TILE];
        size_t queries = cr_least(CR_TILE, count - c);
        for (size_t i = 0; i < queries; i++) {
            if (call->log_sum)
                call->log_sum[(row + c + i) * shape->heads + head] =
                    (float)M_LN2 * to->maximum[i] + logf(to->sum[i]);
            to->sum[i] = 1.0f / to->sum[i];
        }
        call->kernels->transpose(to->result, CR_TILE, head_dim, queries, to->sum,
                                 cr_at(&call->out, row + c, column), call->out.dtype, call->out.stride);
    }
}

static void attend_item(void *context, size_t item, size_t thread)
{
    const struct cr_attention_call *call = context;
    const struct cr_attention_layout *layout = call->layout;
    struct cr_arena arena = {call->scratch + thread * call->scratch_size, call->scratch_size, 0};
    struct tile t = take_tile(&arena, call->product, call->shape->head_dim, call->q.dtype);
    cr_product_enter(call->product);
    for (size_t s = 0; s < layout->sequences; s++) {
        size_t parts = cr_items(layout->offset[s + 1] - layout->offset[s], TOGETHER * CR_TILE);
        if (item < parts * call->shape->heads) {
            attend(call, &t, s, item / parts, item % parts * TOGETHER * CR_TILE);
            break;
        }
        item -= parts * call->shape->heads;
    }
    cr_product_leave(call->product);
}

enum cr_status cr_attention_check(const struct cr_attention_call *call)
{
    const struct cr_attention_shape *shape = call->shape;
    if (shape->kv_heads == 0 || shape->heads % shape->kv_heads != 0)
        return cr_fail(CR_INTERNAL, "%zu heads cannot share %zu key heads", shape->heads, shape->kv_heads);
    enum cr_dtype act = call->q.dtype;
    if ((act != CR_F32 && act != CR_BF16) || call->k.dtype != act || call->v.dtype != act ||
        call->out.dtype != act)
        return cr_fail(CR_INTERNAL, "attention is over F32 or BF16, one for all operands");
    return CR_OK;
}

size_t cr_attention_scratch(const struct cr_compute *compute, const struct cr_attention_shape *shape,
                            enum cr_dtype act, size_t longest)
{
    const struct cr_product *product = cr_product_of(cr_compute_kernels(compute), act);
    size_t forward = tile_size(product, shape->head_dim, act);
    size_t backward = cr_attention_backward_size(product, shape->head_dim, act, longest);
    return cr_pool_threads(cr_compute_pool(compute)) * cr_most(forward, backward);
}

enum cr_status cr_attention(struct cr_compute *compute, const struct cr_attention_shape *shape,
                            const struct cr_attention_layout *layout, struct cr_matrix q, struct cr_matrix k,
                            struct cr_matrix v, struct cr_matrix out, float *log_sum, void *scratch)
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
        .log_sum = log_sum,
        .scratch = scratch,
    };
    CR_TRY(cr_attention_check(&call));
    call.scratch_size = tile_size(call.product, shape->head_dim, q.dtype);
    size_t items = 0;
    for (size_t s = 0; s < layout->sequences; s++)
        items += cr_items(layout->offset[s + 1] - layout->offset[s], TOGETHER * CR_TILE) * shape->heads;
    cr_pool_run(cr_compute_pool(compute), items, attend_item, &call);
    return CR_OK;
}
