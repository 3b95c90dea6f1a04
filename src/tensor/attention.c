#include "tensor/attention.h"

#include "tensor/attention_tile.h"

#include <float.h>
#include <math.h>

// One thread's memory.
struct tile {
    struct cr_panels q, v;
    uint32_t *left; // a left operand that cannot be used in place
    float *scores;  // [CR_TILE keys, CR_TILE queries]
    void *p;        // the same, act
    float *result;  // [CR_TILE queries, head_dim]
    float *maximum; // [CR_TILE queries] each
    float *sum;
    float *correction;
};

static struct tile take_tile(struct cr_arena *arena, const struct cr_product *product, size_t head_dim,
                             enum cr_dtype act)
{
    struct tile t;
    t.q = cr_panels_take(arena, product, CR_TILE, head_dim, 1, NULL);
    t.v = cr_panels_take(arena, product, head_dim, CR_TILE, 1, NULL);
    t.left = cr_arena_take(arena, CR_TILE * cr_most(head_dim, CR_TILE), sizeof *t.left);
    t.scores = cr_arena_take(arena, CR_TILE * CR_TILE, sizeof(float));
    t.p = cr_arena_take(arena, CR_TILE * CR_TILE, cr_dtype_size(act));
    t.result = cr_arena_take(arena, CR_TILE * head_dim, sizeof(float));
    t.maximum = cr_arena_take(arena, CR_TILE, sizeof(float));
    t.sum = cr_arena_take(arena, CR_TILE, sizeof(float));
    t.correction = cr_arena_take(arena, CR_TILE, sizeof(float));
    return t;
}

static size_t tile_size(const struct cr_product *product, size_t head_dim, enum cr_dtype act)
{
    struct cr_arena count = {0};
    (void)take_tile(&count, product, head_dim, act);
    return count.used;
}

// Adds one tile of keys to the running softmax of a tile of queries.
static void add_keys(const struct cr_attention_call *call, struct tile *t, size_t queries, size_t keys,
                     ptrdiff_t first, const void *k, const void *v)
{
    size_t head_dim = call->shape->head_dim;
    cr_multiply(call, keys, queries, head_dim,
                cr_left_of(call, k, call->k.stride, true, keys, head_dim, t->left), t->q, t->scores, CR_TILE,
                false);
    call->kernels->softmax_tile(&(struct cr_softmax_tile){
        .keys = keys,
        .queries = queries,
        .stride = CR_TILE,
        .first = first,
        .window = call->shape->window,
        .scale = call->shape->scale,
        .scores = t->scores,
        .maximum = t->maximum,
        .sum = t->sum,
        .correction = t->correction,
        .p = t->p,
        .dtype = call->q.dtype,
    });
    for (size_t c = 0; c < queries; c++)
        if (t->correction[c] != 1.0f)
            call->kernels->scale(t->result + c * head_dim, CR_F32, t->correction[c], head_dim);
    cr_pack_right(call, v, call->v.stride, false, head_dim, keys, t->v);
    cr_multiply(call, queries, head_dim, keys, cr_left_of(call, t->p, CR_TILE, false, queries, keys, t->left),
                t->v, t->result, head_dim, true);
}

// Queries from place `start` of sequence s, one head.
static void attend(const struct cr_attention_call *call, struct tile *t, size_t s, size_t head, size_t start)
{
    const struct cr_attention_layout *layout = call->layout;
    size_t head_dim = call->shape->head_dim, past = layout->past[s];
    size_t length = layout->offset[s + 1] - layout->offset[s], queries = cr_least(CR_TILE, length - start);
    size_t row = layout->offset[s] + start, column = head * head_dim;
    size_t kv_column = head / (call->shape->heads / call->shape->kv_heads) * head_dim;
    cr_pack_right(call, cr_at(&call->q, row, column), call->q.stride, true, queries, head_dim, t->q);
    for (size_t c = 0; c < queries; c++) {
        t->maximum[c] = -FLT_MAX;
        t->sum[c] = 0;
    }
    for (size_t i = 0; i < queries * head_dim; i++) t->result[i] = 0;
    size_t seen = past + start + queries; // by the last query
    for (size_t key = cr_first_tile(call->shape, past + start) * CR_TILE; key < seen; key += CR_TILE) {
        size_t key_row = layout->key_offset[s] + key;
        add_keys(call, t, queries, cr_least(CR_TILE, seen - key), (ptrdiff_t)(past + start) - (ptrdiff_t)key,
                 cr_at(&call->k, key_row, kv_column), cr_at(&call->v, key_row, kv_column));
    }
    for (size_t c = 0; c < queries; c++) {
        float *result = t->result + c * head_dim;
        call->kernels->scale(result, CR_F32, 1.0f / t->sum[c], head_dim);
        call->kernels->convert(result, CR_F32, cr_at(&call->out, row + c, column), call->out.dtype, head_dim);
        if (call->log_sum)
            call->log_sum[(row + c) * call->shape->heads + head] = t->maximum[c] + logf(t->sum[c]);
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
        size_t tiles = cr_items(layout->offset[s + 1] - layout->offset[s], CR_TILE);
        if (item < tiles * call->shape->heads) {
            attend(call, &t, s, item / tiles, item % tiles * CR_TILE);
            break;
        }
        item -= tiles * call->shape->heads;
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
        items += cr_items(layout->offset[s + 1] - layout->offset[s], CR_TILE) * shape->heads;
    cr_pool_run(cr_compute_pool(compute), items, attend_item, &call);
    return CR_OK;
}
