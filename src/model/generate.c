#include "model/generate.h"

#include "model/head.h"
#include "tensor/ops.h"

#include <math.h>
#include <stdlib.h>

struct cr_past {
    struct cr_arena arena;
    struct cr_cache *caches; // [layers of the part]
    size_t rows;             // taken, the prefix among them
};

struct cr_decoder {
    struct cr_walk walk;
    const struct cr_tuned *tuned;
    size_t context; // the prefix among it
    struct cr_past *past;
    uint32_t *position; // [walk.size.rows]
    float *logits;      // [V], of a part with the head
};

static struct cr_matrix take(struct cr_arena *arena, enum cr_dtype dtype, size_t rows, size_t columns)
{
    size_t stride = cr_spaced_stride(dtype, columns);
    return (struct cr_matrix){.data = cr_arena_take(arena, rows * stride, cr_dtype_size(dtype)),
                              .dtype = dtype,
                              .rows = rows,
                              .columns = columns,
                              .stride = stride};
}

// Run twice: the arena counts, then hands out.
static void place(struct cr_past *past, const struct cr_decoder *decoder)
{
    const struct cr_walk *walk = &decoder->walk;
    size_t layers = walk->size.last - walk->size.first, columns = walk->shape.kv_heads * walk->shape.head_dim;
    struct cr_cache none, *caches = cr_arena_take(&past->arena, layers, sizeof *caches);
    for (size_t i = 0; i < layers; i++) {
        struct cr_cache *cache = caches ? &caches[i] : &none;
        cache->k = take(&past->arena, walk->model->act, decoder->context, columns);
        cache->v = take(&past->arena, walk->model->act, decoder->context, columns);
    }
    past->caches = caches;
}

// The prefix is the past of a text that has not begun.
static void fill_prefix(const struct cr_decoder *decoder, const struct cr_past *past)
{
    const struct cr_walk *walk = &decoder->walk;
    struct cr_compute *compute = walk->model->compute;
    size_t columns = walk->shape.kv_heads * walk->shape.head_dim, rows = walk->size.prefix;
    for (size_t layer = walk->size.first; rows > 0 && layer < walk->size.last; layer++) {
        struct cr_matrix values = decoder->tuned->layers[layer].prefix.values;
        const struct cr_cache *cache = &past->caches[layer - walk->size.first];
        cr_copy_matrix(compute, cr_matrix_columns(values, 0, columns), cr_matrix_rows(cache->k, 0, rows));
        cr_copy_matrix(compute, cr_matrix_columns(values, columns, columns),
                       cr_matrix_rows(cache->v, 0, rows));
    }
}

enum cr_status cr_past_new(const struct cr_decoder *decoder, struct cr_past **out)
{
    struct cr_past *past;
    CR_TRY(cr_allocate(1, sizeof *past, &past));
    place(past, decoder);
    enum cr_status status = cr_arena_commit(&past->arena);
    if (status != CR_OK) {
        cr_past_free(past);
        return status;
    }
    place(past, decoder);
    past->rows = decoder->walk.size.prefix;
    fill_prefix(decoder, past);
    *out = past;
    return CR_OK;
}

void cr_past_free(struct cr_past *past)
{
    if (!past) return;
    if (past->arena.base) cr_wipe(past->arena.base, past->arena.size);
    cr_arena_release(&past->arena);
    free(past);
}

void cr_decoder_swap(struct cr_decoder *decoder, struct cr_past **past)
{
    struct cr_past *other = *past;
    *past = decoder->past;
    decoder->past = other;
}

enum cr_status cr_decoder_new(const struct cr_model *model, const struct cr_tuned *tuned, size_t context,
                              struct cr_decoder **out)
{
    size_t prefix = tuned ? tuned->prefix : 0, most = model->config.context;
    if (context == 0 || prefix > most || context > most - prefix)
        return cr_fail(CR_INVALID,
                       "a prefix of %zu and a context of %zu tokens are not within the model's %zu", prefix,
                       context, most);
    struct cr_walk_size size = {.first = model->part.first,
                                .last = cr_least(model->part.last, model->config.layers),
                                .rows = cr_least(context, CR_DECODER_ROWS),
                                .sequences = 1,
                                .positions = context,
                                .prefix = prefix,
                                .decodes = true};
    struct cr_decoder *decoder;
    CR_TRY(cr_allocate(1, sizeof *decoder, &decoder));
    decoder->tuned = tuned;
    decoder->context = prefix + context;
    enum cr_status status = cr_walk_init(model, &size, &decoder->walk);
    if (status == CR_OK) status = cr_past_new(decoder, &decoder->past);
    if (status == CR_OK) status = cr_allocate(size.rows, sizeof *decoder->position, &decoder->position);
    if (status == CR_OK && model->part.head)
        status = cr_allocate(model->config.vocabulary, sizeof *decoder->logits, &decoder->logits);
    if (status != CR_OK) {
        cr_decoder_free(decoder);
        return status;
    }
    *out = decoder;
    return CR_OK;
}

void cr_decoder_free(struct cr_decoder *decoder)
{
    if (!decoder) return;
    if (decoder->logits) cr_wipe(decoder->logits, decoder->walk.model->config.vocabulary * sizeof(float));
    cr_walk_release(&decoder->walk);
    cr_past_free(decoder->past);
    free(decoder->position);
    free(decoder->logits);
    free(decoder);
}

static enum cr_status check_room(const struct cr_decoder *decoder, size_t count)
{
    size_t past = decoder->past->rows;
    if (count == 0) return cr_fail(CR_INVALID, "no tokens to continue from");
    if (count <= decoder->context - past) return CR_OK;
    return cr_fail(CR_INVALID, "%zu tokens do not fit the context of %zu, of which %zu are taken", count,
                   decoder->context, past);
}

static enum cr_status check_tokens(const struct cr_decoder *decoder, const uint32_t *tokens, size_t count)
{
    size_t vocabulary = decoder->walk.model->config.vocabulary;
    for (size_t i = 0; i < count; i++)
        if (tokens[i] >= vocabulary)
            return cr_fail(CR_INVALID, "token %u is outside the model's vocabulary of %zu", tokens[i],
                           vocabulary);
    return check_room(decoder, count);
}

// At most size.rows tokens, or the stream of so many, through all layers of the part; their stream is left in
// its last residual.
static enum cr_status walk_part(struct cr_decoder *decoder, const uint32_t *tokens, struct cr_matrix stream,
                                size_t count)
{
    struct cr_walk *walk = &decoder->walk;
    const size_t offset[2] = {0, count}, key_offset[1] = {0};
    walk->caches = decoder->past->caches;
    walk->past[0] = decoder->past->rows;
    for (size_t i = 0; i < count; i++)
        decoder->position[i] = (uint32_t)(walk->past[0] - walk->size.prefix + i);
    struct cr_view view = {
        .rows = count,
        .position = decoder->position,
        .layout = {.sequences = 1, .offset = offset, .key_offset = key_offset, .past = walk->past},
    };
    if (tokens)
        cr_walk_embed(walk, &view, tokens);
    else
        cr_copy_matrix(walk->model->compute, stream, cr_walk_residual(walk, 2 * walk->size.first, count));
    for (size_t layer = walk->size.first; layer < walk->size.last; layer++)
        CR_TRY(
            cr_walk_layer(walk, &view, layer,
                          decoder->tuned && decoder->tuned->layers ? &decoder->tuned->layers[layer] : NULL));
    decoder->past->rows += count;
    return CR_OK;
}

// What follows the last of so many rows, that went through together.
static enum cr_status take_logits(struct cr_decoder *decoder, size_t rows)
{
    struct cr_walk *walk = &decoder->walk;
    size_t vocabulary = walk->model->config.vocabulary;
    walk->head_row[0] = (uint32_t)(rows - 1);
    CR_TRY(cr_head_logits(walk, cr_walk_residual(walk, 2 * walk->size.last, rows), 1,
                          cr_matrix_of(decoder->logits, CR_F32, 1, vocabulary)));
    if (cr_all_finite(walk->model->compute, decoder->logits, vocabulary)) return CR_OK;
    return cr_model_fail_nonfinite(walk->model, "a logit", "");
}

// Of tokens, or of their stream.
static enum cr_status feed(struct cr_decoder *decoder, const uint32_t *tokens, struct cr_matrix stream,
                           size_t count, const float **logits)
{
    size_t part = 0, past = decoder->past->rows;
    enum cr_status status = CR_OK;
    for (size_t at = 0; status == CR_OK && at < count; at += part) {
        part = cr_least(count - at, decoder->walk.size.rows);
        status = walk_part(decoder, tokens ? tokens + at : NULL,
                           tokens ? stream : cr_matrix_rows(stream, at, part), part);
    }
    if (status == CR_OK) status = take_logits(decoder, part);
    if (status == CR_OK)
        *logits = decoder->logits;
    else
        decoder->past->rows = past;
    return status;
}

enum cr_status cr_decoder_feed(struct cr_decoder *decoder, const uint32_t *tokens, size_t count,
                               const float **logits)
{
    CR_TRY(check_tokens(decoder, tokens, count));
    return feed(decoder, tokens, (struct cr_matrix){0}, count, logits);
}

enum cr_status cr_decoder_front(struct cr_decoder *decoder, const uint32_t *tokens, size_t count,
                                struct cr_matrix *stream)
{
    struct cr_walk *walk = &decoder->walk;
    CR_TRY(check_tokens(decoder, tokens, count));
    if (count > walk->size.rows)
        return cr_fail(CR_INTERNAL, "%zu tokens at once, of at most %zu", count, walk->size.rows);
    CR_TRY(walk_part(decoder, tokens, (struct cr_matrix){0}, count));
    *stream = cr_walk_residual(walk, 2 * walk->size.last, count);
    return CR_OK;
}

enum cr_status cr_decoder_tail(struct cr_decoder *decoder, struct cr_matrix stream, const float **logits)
{
    CR_TRY(check_room(decoder, stream.rows));
    return feed(decoder, NULL, stream, stream.rows, logits);
}

uint32_t cr_choose_token(const float *logits, size_t vocabulary, double temperature, double uniform)
{
    size_t best = 0;
    for (size_t i = 1; i < vocabulary; i++)
        if (logits[i] > logits[best]) best = i;
    if (temperature <= 0) return (uint32_t)best;
    double sum = 0, highest = (double)logits[best];
    for (size_t i = 0; i < vocabulary; i++) sum += exp(((double)logits[i] - highest) / temperature);
    // The last token of positive weight takes what rounding leaves over.
    double left = uniform * sum;
    size_t chosen = best;
    for (size_t i = 0; i < vocabulary; i++) {
        double weight = exp(((double)logits[i] - highest) / temperature);
        if (!(weight > 0)) continue;
        chosen = i;
        if (left < weight) break;
        left -= weight;
    }
    return (uint32_t)chosen;
}
