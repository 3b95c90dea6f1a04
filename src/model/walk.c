#include "model/walk.h"

#include "model/norm.h"
#include "tensor/ops.h"

#include <math.h>

// How many rows the head takes at a time. For each block of rows the head's matrix is read and packed again,
// which favours many rows; but their logits must be small beside the rest of a pass, which is little if it
// holds one layer. Multiples of 32 suit the product.
static size_t head_chunk(const struct cr_walk_size *size, size_t vocabulary)
{
    enum { LEAST = 128, MOST = 512, LOGITS = 1 << 25, LOGITS_OUTSIDE = 1 << 22 };
    if (size->decodes) return size->sequences; // one row after the last token of each
    size_t chunk = (size->outside ? LOGITS_OUTSIDE : LOGITS) / vocabulary / 32 * 32;
    return cr_least(size->rows, cr_least(MOST, cr_most(LEAST, chunk)));
}

static void fill_rotation(struct cr_walk *walk)
{
    if (walk->model->config.learned_positions) return;
    const struct cr_rope *rope = &walk->model->config.rope;
    size_t half = walk->shape.head_dim / 2;
    for (size_t j = 0; j < half; j++) {
        float step = cr_rope_frequency(rope, walk->shape.head_dim, j);
        for (size_t p = 0; p < walk->size.positions; p++) {
            float angle = (float)(walk->size.prefix + p) * step;
            walk->cosine[p * half + j] = (float)cos((double)angle) * (float)rope->amplitude;
            walk->sine[p * half + j] = (float)sin((double)angle) * (float)rope->amplitude;
        }
    }
}

// Most matrices are operands or results of products, so all have a spaced stride.
static struct cr_matrix take(struct cr_walk *walk, enum cr_dtype dtype, size_t rows, size_t columns)
{
    size_t stride = cr_spaced_stride(dtype, columns);
    struct cr_matrix m = {.dtype = dtype, .rows = rows, .columns = columns, .stride = stride};
    m.data = cr_arena_take(&walk->arena, rows * stride, cr_dtype_size(dtype));
    return m;
}

static float *take_floats(struct cr_walk *walk, size_t count)
{
    return cr_arena_take(&walk->arena, count, sizeof(float));
}

static void place_trace(struct cr_walk *walk, struct cr_trace *trace)
{
    size_t rows = walk->size.rows;
    enum cr_dtype act = walk->model->act;
    const struct cr_layer *layer = &walk->model->layers[0]; // all layers have the same shapes
    trace->qkv = take(walk, act, rows, layer->qkv.out);
    trace->attended = take(walk, act, rows, layer->o.in);
    trace->gate_up = take(walk, act, rows, layer->gate_up.out);
    trace->log_sum = walk->size.backward ? take_floats(walk, rows * walk->shape.heads) : NULL;
    trace->norm1 = take_floats(walk, cr_norm_statistics(&walk->model->config, rows));
    trace->norm2 = take_floats(walk, cr_norm_statistics(&walk->model->config, rows));
    if (!walk->model->config.head_norms) return;
    size_t heads = walk->shape.heads + walk->shape.kv_heads;
    trace->unnormed = take(walk, act, rows, heads * walk->shape.head_dim);
    trace->head_inverse = take_floats(walk, rows * heads);
}

// Places what only attention uses.
static void place_attention_space(struct cr_walk *walk)
{
    const struct cr_model *model = walk->model;
    const struct cr_layer *layer = &model->layers[0];
    size_t rows = walk->size.rows, longest = rows + walk->size.prefix;
    walk->attention_scratch = cr_arena_take(
        &walk->arena, cr_attention_scratch(model->compute, &walk->shape, model->act, longest), 1);
    if (walk->size.prefix > 0 && !walk->size.decodes) {
        size_t joined = rows + walk->size.sequences * walk->size.prefix;
        size_t columns = 2 * walk->shape.kv_heads * walk->shape.head_dim;
        walk->joined = take(walk, model->act, joined, columns);
        if (walk->size.backward) walk->djoined = take(walk, model->act, joined, columns);
    }
    if (model->config.head_norms) {
        size_t columns = (walk->shape.heads + walk->shape.kv_heads) * walk->shape.head_dim;
        if (model->act != CR_F32) walk->exact = take(walk, CR_F32, rows, columns);
        if (walk->size.backward) walk->dexact = take(walk, CR_F32, rows, columns);
    }
    if (!walk->size.backward) return;
    walk->dattended = take(walk, model->act, rows, layer->o.in);
    walk->dqkv = take(walk, model->act, rows, layer->qkv.out);
}

static void place_layer_space(struct cr_walk *walk)
{
    const struct cr_model *model = walk->model;
    const struct cr_layer *layer = &model->layers[0];
    size_t rows = walk->size.rows, d = model->config.hidden, widest = cr_most(d, layer->o.in);
    walk->normed = take(walk, model->act, rows, d);
    if (walk->size.backward && model->act != CR_F32) walk->upstream = take(walk, model->act, rows, d);
    // A layer's two halves never run at the same time either, and share memory. Each begins with the `sum` it
    // needs.
    size_t start = walk->arena.used;
    if (walk->size.backward) walk->sum = take(walk, CR_F32, rows, widest).data;
    place_attention_space(walk);
    size_t end = walk->arena.used;
    walk->arena.used = start;
    if (walk->size.backward) walk->sum = take(walk, CR_F32, rows, cr_most(widest, layer->down.in)).data;
    walk->hidden = take(walk, model->act, rows, layer->down.in);
    walk->arena.used = cr_most(end, walk->arena.used);
}

static void place_head_space(struct cr_walk *walk)
{
    const struct cr_model *model = walk->model;
    size_t d = model->config.hidden;
    walk->head_row = cr_arena_take(&walk->arena, walk->chunk, sizeof *walk->head_row);
    walk->head_label = cr_arena_take(&walk->arena, walk->chunk, sizeof *walk->head_label);
    walk->head_input = take(walk, CR_F32, walk->chunk, d);
    walk->head_normed = take(walk, model->act, walk->chunk, d);
    walk->head_norm = take_floats(walk, cr_norm_statistics(&model->config, walk->chunk));
    walk->head_loss = take_floats(walk, walk->chunk);
    walk->head_correct = cr_arena_take(&walk->arena, walk->chunk, sizeof *walk->head_correct);
    walk->right = cr_arena_take(&walk->arena, walk->size.rows, sizeof *walk->right);
    walk->loss = take_floats(walk, walk->size.rows);
    if (walk->size.decodes) return; // a decoder's logits outlive the walk
    walk->head_logits = take(walk, CR_F32, walk->chunk, model->config.vocabulary);
    if (!walk->size.backward) return;
    walk->head_gradient = take(walk, CR_F32, walk->chunk, d);
    // The gradient overwrites the logits, row by row.
    walk->head_dlogits = walk->head_logits;
    walk->head_dlogits.dtype = model->act;
    walk->head_dlogits.stride *= sizeof(float) / cr_dtype_size(model->act);
}

static bool keeps_all(const struct cr_walk *walk)
{
    return walk->size.backward && !walk->size.outside;
}

// The buffer that holds residual stream i.
static size_t residual_buffer(const struct cr_walk *walk, size_t i)
{
    if (keeps_all(walk)) return i - 2 * walk->size.first;
    if (walk->size.outside) return i % 2 ? 2 : i / 2 % 2;
    return i % 2;
}

// Called twice: the first time the arena only counts.
static void place(struct cr_walk *walk)
{
    size_t layers = walk->size.last - walk->size.first, traces = keeps_all(walk) ? layers : 1;
    size_t buffers = keeps_all(walk) ? 2 * layers + 1 : walk->size.outside ? 3 : 2;
    walk->cosine = take_floats(walk, walk->size.positions * walk->shape.head_dim / 2);
    walk->sine = take_floats(walk, walk->size.positions * walk->shape.head_dim / 2);
    walk->past = cr_arena_take(&walk->arena, walk->size.sequences, sizeof *walk->past);
    walk->key_offset = cr_arena_take(&walk->arena, walk->size.sequences, sizeof *walk->key_offset);
    walk->residual = take(walk, CR_F32, buffers * walk->size.rows, walk->model->config.hidden);
    struct cr_trace unplaced, *trace = cr_arena_take(&walk->arena, traces, sizeof *trace);
    for (size_t i = 0; i < traces; i++) place_trace(walk, trace ? &trace[i] : &unplaced);
    walk->traces = trace;
    if (walk->size.backward) walk->gradient = take(walk, CR_F32, walk->size.rows, walk->model->config.hidden);
    // A layer and the head never run at the same time: their work spaces share memory.
    size_t start = walk->arena.used;
    place_layer_space(walk);
    size_t end = walk->arena.used;
    walk->arena.used = start;
    if (walk->size.last == walk->model->config.layers) place_head_space(walk);
    walk->arena.used = cr_most(end, walk->arena.used);
}

static struct cr_walk blank(const struct cr_model *model, const struct cr_walk_size *size)
{
    const struct cr_model_config *config = &model->config;
    return (struct cr_walk){
        .model = model,
        .size = *size,
        .shape = {.heads = config->heads, .kv_heads = config->kv_heads, .head_dim = config->head_dim},
        .chunk = head_chunk(size, config->vocabulary),
    };
}

size_t cr_walk_memory(const struct cr_model *model, const struct cr_walk_size *size)
{
    struct cr_walk walk = blank(model, size);
    place(&walk);
    return walk.arena.used;
}

enum cr_status cr_walk_init(const struct cr_model *model, const struct cr_walk_size *size,
                            struct cr_walk *out)
{
    struct cr_walk walk = blank(model, size);
    place(&walk);
    CR_TRY(cr_arena_commit(&walk.arena));
    place(&walk);
    fill_rotation(&walk);
    for (size_t s = 0; s < size->sequences; s++) walk.past[s] = size->prefix;
    *out = walk;
    return CR_OK;
}

void cr_walk_release(struct cr_walk *walk)
{
    cr_wipe(walk->arena.base, walk->arena.base ? walk->arena.size : 0);
    cr_arena_release(&walk->arena);
}

struct cr_matrix cr_walk_residual(const struct cr_walk *walk, size_t i, size_t rows)
{
    return cr_matrix_rows(walk->residual, residual_buffer(walk, i) * walk->size.rows, rows);
}

struct cr_trace *cr_walk_trace(const struct cr_walk *walk, size_t layer)
{
    return &walk->traces[keeps_all(walk) ? layer - walk->size.first : 0];
}

static struct cr_keep_part part_of(struct cr_matrix m, size_t rows)
{
    return (struct cr_keep_part){m.data, rows * m.stride * cr_dtype_size(m.dtype)};
}

size_t cr_walk_parts(const struct cr_walk *walk, size_t layer, size_t rows,
                     struct cr_keep_part parts[CR_KEEP_PARTS])
{
    const struct cr_trace *trace = cr_walk_trace(walk, layer);
    size_t statistics = cr_norm_statistics(&walk->model->config, rows) * sizeof(float), count = 0;
    parts[count++] = part_of(cr_walk_residual(walk, 2 * layer, rows), rows);
    parts[count++] = part_of(cr_walk_residual(walk, 2 * layer + 1, rows), rows);
    parts[count++] = part_of(trace->qkv, rows);
    parts[count++] = part_of(trace->attended, rows);
    parts[count++] = part_of(trace->gate_up, rows);
    parts[count++] = (struct cr_keep_part){trace->log_sum, rows * walk->shape.heads * sizeof(float)};
    parts[count++] = (struct cr_keep_part){trace->norm1, statistics};
    parts[count++] = (struct cr_keep_part){trace->norm2, statistics};
    if (!walk->model->config.head_norms) return count;
    parts[count++] = part_of(trace->unnormed, rows);
    size_t heads = walk->shape.heads + walk->shape.kv_heads; // the inverses of a head are size.rows apart
    parts[count++] = (struct cr_keep_part){trace->head_inverse, heads * walk->size.rows * sizeof(float)};
    return count;
}

void cr_walk_embed(struct cr_walk *walk, const struct cr_view *view, const uint32_t *tokens)
{
    const struct cr_model *model = walk->model;
    struct cr_matrix stream = cr_walk_residual(walk, 0, view->rows);
    cr_embed(model->compute, model->embedding, tokens, stream);
    if (model->config.learned_positions)
        cr_add_embed(model->compute,
                     cr_matrix_rows(model->positions, walk->size.prefix, walk->size.positions),
                     view->position, stream);
}

size_t cr_walk_deltas(const struct cr_walk *walk, const struct cr_layer_tuning *tuning,
                      struct cr_modules modules, struct cr_matrix y, struct cr_delta_part parts[CR_MODULES])
{
    size_t count = 0;
    for (size_t i = 0, at = 0; tuning && i < modules.count; i++) {
        size_t out, in;
        cr_module_shape(&walk->model->config, modules.first + (enum cr_module)i, &out, &in);
        struct cr_delta *delta = tuning->delta[modules.first + i];
        if (delta) parts[count++] = (struct cr_delta_part){delta, cr_matrix_columns(y, at, out)};
        at += out;
    }
    return count;
}

// y = x Wᵀ, plus what the modules' deltas add to their columns of y.
static enum cr_status project(const struct cr_walk *walk, const struct cr_linear *linear,
                              const struct cr_layer_tuning *tuning, struct cr_modules modules,
                              struct cr_matrix x, struct cr_matrix y)
{
    struct cr_delta_part parts[CR_MODULES];
    CR_TRY(linear->provider->forward(linear, x, y));
    return cr_deltas_forward(parts, cr_walk_deltas(walk, tuning, modules, y, parts), x);
}

struct cr_matrix cr_walk_unnormed(struct cr_walk *walk, const struct cr_trace *trace, size_t rows)
{
    struct cr_matrix kept = cr_matrix_rows(trace->unnormed, 0, rows);
    if (walk->model->act == CR_F32) return kept;
    struct cr_matrix exact = cr_matrix_rows(walk->exact, 0, rows);
    cr_copy_matrix(walk->model->compute, kept, exact);
    return exact;
}

// Normalises the heads of q and k in place.
static void norm_heads(struct cr_walk *walk, const struct cr_layer *weights, struct cr_trace *trace,
                       struct cr_matrix qkv)
{
    struct cr_compute *compute = walk->model->compute;
    size_t heads = walk->shape.heads + walk->shape.kv_heads, head_dim = walk->shape.head_dim;
    cr_copy_matrix(compute, cr_matrix_columns(qkv, 0, heads * head_dim),
                   cr_matrix_rows(trace->unnormed, 0, qkv.rows));
    struct cr_matrix x = cr_walk_unnormed(walk, trace, qkv.rows);
    for (size_t i = 0; i < heads; i++)
        cr_rms_norm(compute, cr_matrix_columns(x, i * head_dim, head_dim),
                    i < walk->shape.heads ? weights->q_norm : weights->k_norm,
                    walk->model->config.norm_epsilon, cr_matrix_columns(qkv, i * head_dim, head_dim),
                    trace->head_inverse + i * walk->size.rows);
}

struct cr_attention_shape cr_walk_shape(const struct cr_walk *walk, size_t layer)
{
    struct cr_attention_shape shape = walk->shape;
    shape.window = cr_layer_window(&walk->model->config, layer);
    shape.scale = (float)cr_layer_score_scale(&walk->model->config, layer);
    return shape;
}

void cr_walk_activate(const struct cr_walk *walk, struct cr_matrix gate_up, struct cr_matrix hidden)
{
    if (walk->model->config.gelu)
        cr_gelu(walk->model->compute, gate_up, hidden, walk->model->config.gelu_erf);
    else
        cr_swiglu(walk->model->compute, gate_up, hidden);
}

void cr_walk_join(struct cr_walk *walk, const struct cr_view *view, const struct cr_layer_prefix *prefix,
                  struct cr_matrix own)
{
    const struct cr_attention_layout *layout = &view->layout;
    for (size_t s = 0; s < layout->sequences; s++) {
        size_t first = layout->offset[s], count = layout->offset[s + 1] - first;
        size_t at = layout->key_offset[s], past = layout->past[s];
        cr_copy_matrix(walk->model->compute, prefix->values, cr_matrix_rows(walk->joined, at, past));
        cr_copy_matrix(walk->model->compute, cr_matrix_rows(own, first, count),
                       cr_matrix_rows(walk->joined, at + past, count));
    }
}

// Appends each sequence's keys (or values) of the batch to the cache, after those of its past.
static void add_to_cache(const struct cr_walk *walk, const struct cr_attention_layout *layout,
                         struct cr_matrix own, struct cr_matrix cache)
{
    for (size_t s = 0; s < layout->sequences; s++) {
        size_t first = layout->offset[s], count = layout->offset[s + 1] - first;
        cr_copy_matrix(walk->model->compute, cr_matrix_rows(own, first, count),
                       cr_matrix_rows(cache, layout->key_offset[s] + layout->past[s], count));
    }
}

// Attention over the batch itself, after a prefix if there is one; or over the cache, once the batch's keys
// and values have been added to it.
static enum cr_status attend(struct cr_walk *walk, const struct cr_view *view, size_t layer,
                             const struct cr_layer_tuning *tuning, struct cr_matrix qkv,
                             struct cr_matrix attended, float *log_sum)
{
    struct cr_compute *compute = walk->model->compute;
    size_t head_dim = walk->shape.head_dim, q_columns = walk->shape.heads * head_dim,
           kv_columns = walk->shape.kv_heads * head_dim;
    struct cr_attention_shape shape = cr_walk_shape(walk, layer);
    if (!walk->model->config.learned_positions)
        cr_rope(compute, cr_matrix_columns(qkv, 0, q_columns + kv_columns),
                walk->shape.heads + walk->shape.kv_heads, head_dim, walk->cosine, walk->sine, view->position,
                false);
    struct cr_matrix q = cr_matrix_columns(qkv, 0, q_columns);
    struct cr_matrix k = cr_matrix_columns(qkv, q_columns, kv_columns);
    struct cr_matrix v = cr_matrix_columns(qkv, q_columns + kv_columns, kv_columns);
    if (walk->caches) {
        struct cr_cache *cache = &walk->caches[layer - walk->size.first];
        add_to_cache(walk, &view->layout, k, cache->k);
        add_to_cache(walk, &view->layout, v, cache->v);
        k = cache->k;
        v = cache->v;
    } else if (walk->size.prefix > 0) {
        cr_walk_join(walk, view, &tuning->prefix, cr_matrix_columns(qkv, q_columns, 2 * kv_columns));
        k = cr_matrix_columns(walk->joined, 0, kv_columns);
        v = cr_matrix_columns(walk->joined, kv_columns, kv_columns);
    }
    return cr_attention(compute, &shape, &view->layout, q, k, v, attended, log_sum, walk->attention_scratch);
}

enum cr_status cr_walk_layer(struct cr_walk *walk, const struct cr_view *view, size_t layer,
                             const struct cr_layer_tuning *tuning)
{
    const struct cr_model *model = walk->model;
    const struct cr_layer *weights = &model->layers[layer];
    struct cr_compute *compute = model->compute;
    struct cr_trace *trace = cr_walk_trace(walk, layer);
    size_t rows = view->rows;
    struct cr_matrix input = cr_walk_residual(walk, 2 * layer, rows);
    struct cr_matrix middle = cr_walk_residual(walk, 2 * layer + 1, rows);
    struct cr_matrix output = cr_walk_residual(walk, 2 * layer + 2, rows);
    struct cr_matrix normed = cr_matrix_rows(walk->normed, 0, rows);
    struct cr_matrix qkv = cr_matrix_rows(trace->qkv, 0, rows);
    struct cr_matrix attended = cr_matrix_rows(trace->attended, 0, rows);
    struct cr_matrix gate_up = cr_matrix_rows(trace->gate_up, 0, rows);
    struct cr_matrix hidden = cr_matrix_rows(walk->hidden, 0, rows);

    // Each half writes its product in F32 to the stream after it, and adds the stream before it.
    cr_norm_forward(model, &weights->norm1, input, normed, trace->norm1);
    CR_TRY(project(walk, &weights->qkv, tuning, cr_qkv_modules(&model->config), normed, qkv));
    if (model->config.head_norms) norm_heads(walk, weights, trace, qkv);
    CR_TRY(attend(walk, view, layer, tuning, qkv, attended, trace->log_sum));
    CR_TRY(project(walk, &weights->o, tuning, (struct cr_modules){CR_O, 1}, attended, middle));
    cr_add_scaled(compute, middle, 1, input);

    cr_norm_forward(model, &weights->norm2, middle, normed, trace->norm2);
    CR_TRY(project(walk, &weights->gate_up, tuning, cr_gate_up_modules(&model->config), normed, gate_up));
    cr_walk_activate(walk, gate_up, hidden);
    CR_TRY(project(walk, &weights->down, tuning, (struct cr_modules){CR_DOWN, 1}, hidden, output));
    cr_add_scaled(compute, output, 1, middle);
    return CR_OK;
}
