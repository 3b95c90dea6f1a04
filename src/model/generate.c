#include "model/generate.h"

#include "model/head.h"
#include "tensor/ops.h"

#include <math.h>
#include <stdlib.h>

struct cr_past {
    struct cr_arena arena;
    struct cr_cache *caches; // [layers of the part]
    size_t *rows;            // [texts] in use, including the prefix
};

struct cr_decoder {
    struct cr_walk walk;
    const struct cr_tuned *tuned;
    size_t texts, context; // context includes the prefix
    struct cr_past *past;
    uint32_t *token, *position; // [walk.size.rows]
    size_t *offset;             // [texts + 1]
    float *logits;              // [texts, V], of a part with the head
};

// Rows of several texts that go through the layers together.
struct block {
    size_t sequences, rows;
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

// Called twice: the first time the arena only counts.
static void place(struct cr_past *past, const struct cr_decoder *decoder)
{
    const struct cr_walk *walk = &decoder->walk;
    size_t layers = walk->size.last - walk->size.first, columns = walk->shape.kv_heads * walk->shape.head_dim;
    struct cr_cache none, *caches = cr_arena_take(&past->arena, layers, sizeof *caches);
    for (size_t i = 0; i < layers; i++) {
        struct cr_cache *cache = caches ? &caches[i] : &none;
        cache->k = take(&past->arena, walk->model->act, decoder->texts * decoder->context, columns);
        cache->v = take(&past->arena, walk->model->act, decoder->texts * decoder->context, columns);
    }
    past->caches = caches;
    past->rows = cr_arena_take(&past->arena, decoder->texts, sizeof *past->rows);
}

size_t cr_decoder_memory(const struct cr_model *model, const struct cr_tuned *tuned, size_t context)
{
    struct cr_past one = {0};
    const struct cr_decoder decoder = {
        .walk = {.model = model,
                 .size = {.first = model->part.first,
                          .last = cr_least(model->part.last, model->config.layers)},
                 .shape = {.kv_heads = model->config.kv_heads, .head_dim = model->config.head_dim}},
        .texts = 1,
        .context = (tuned ? tuned->prefix : 0) + context};
    place(&one, &decoder);
    return one.arena.used + model->config.vocabulary * sizeof *decoder.logits;
}

// The past of a text that has not begun is the prefix.
static void fill_prefix(const struct cr_decoder *decoder, const struct cr_past *past, size_t text)
{
    const struct cr_walk *walk = &decoder->walk;
    struct cr_compute *compute = walk->model->compute;
    size_t columns = walk->shape.kv_heads * walk->shape.head_dim, rows = walk->size.prefix,
           at = text * decoder->context;
    past->rows[text] = rows;
    for (size_t layer = walk->size.first; rows > 0 && layer < walk->size.last; layer++) {
        struct cr_matrix values = decoder->tuned->layers[layer].prefix.values;
        const struct cr_cache *cache = &past->caches[layer - walk->size.first];
        cr_copy_matrix(compute, cr_matrix_columns(values, 0, columns), cr_matrix_rows(cache->k, at, rows));
        cr_copy_matrix(compute, cr_matrix_columns(values, columns, columns),
                       cr_matrix_rows(cache->v, at, rows));
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
    for (size_t text = 0; text < decoder->texts; text++) fill_prefix(decoder, past, text);
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

void cr_decoder_clear(struct cr_decoder *decoder, size_t text)
{
    decoder->past->rows[text] = decoder->walk.size.prefix;
}

static enum cr_status allocate(struct cr_decoder *decoder)
{
    const struct cr_walk *walk = &decoder->walk;
    CR_TRY(cr_past_new(decoder, &decoder->past));
    CR_TRY(cr_allocate(walk->size.rows, sizeof *decoder->token, &decoder->token));
    CR_TRY(cr_allocate(walk->size.rows, sizeof *decoder->position, &decoder->position));
    CR_TRY(cr_allocate(decoder->texts + 1, sizeof *decoder->offset, &decoder->offset));
    if (!walk->model->part.head) return CR_OK;
    return cr_allocate(decoder->texts, walk->model->config.vocabulary * sizeof *decoder->logits,
                       &decoder->logits);
}

enum cr_status cr_decoder_new(const struct cr_model *model, const struct cr_tuned *tuned, size_t context,
                              size_t texts, struct cr_decoder **out)
{
    size_t prefix = tuned ? tuned->prefix : 0, most = model->config.context;
    if (context == 0 || prefix > most || context > most - prefix)
        return cr_fail(CR_INVALID,
                       "a prefix of %zu and a context of %zu tokens are not within the model's %zu", prefix,
                       context, most);
    if (texts == 0 || texts > CR_DECODER_ROWS) return cr_fail(CR_INTERNAL, "a decoder of %zu texts", texts);
    struct cr_walk_size size = {.first = model->part.first,
                                .last = cr_least(model->part.last, model->config.layers),
                                .rows = cr_least(texts * cr_least(context, CR_DECODER_ROWS), CR_DECODER_ROWS),
                                .sequences = texts,
                                .positions = context,
                                .prefix = prefix,
                                .decodes = true};
    struct cr_decoder *decoder;
    CR_TRY(cr_allocate(1, sizeof *decoder, &decoder));
    decoder->tuned = tuned;
    decoder->texts = texts;
    decoder->context = prefix + context;
    enum cr_status status = cr_walk_init(model, &size, &decoder->walk);
    if (status == CR_OK) status = allocate(decoder);
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
    if (decoder->logits)
        cr_wipe(decoder->logits, decoder->texts * decoder->walk.model->config.vocabulary * sizeof(float));
    if (decoder->token) cr_wipe(decoder->token, decoder->walk.size.rows * sizeof *decoder->token);
    cr_walk_release(&decoder->walk);
    cr_past_free(decoder->past);
    free(decoder->token);
    free(decoder->position);
    free(decoder->offset);
    free(decoder->logits);
    free(decoder);
}

static enum cr_status check_room(const struct cr_decoder *decoder, size_t text, size_t count)
{
    if (text >= decoder->texts) return cr_fail(CR_INTERNAL, "text %zu of %zu", text, decoder->texts);
    size_t past = decoder->past->rows[text];
    if (count == 0) return cr_fail(CR_INVALID, "no tokens to continue from");
    if (count <= decoder->context - past) return CR_OK;
    return cr_fail(CR_INVALID, "%zu tokens do not fit the context of %zu, of which %zu are taken", count,
                   decoder->context, past);
}

static enum cr_status check_tokens(const struct cr_decoder *decoder, const struct cr_feed *feed)
{
    size_t vocabulary = decoder->walk.model->config.vocabulary;
    for (size_t i = 0; i < feed->count; i++)
        if (feed->tokens[i] >= vocabulary)
            return cr_fail(CR_INVALID, "token %u is outside the model's vocabulary of %zu", feed->tokens[i],
                           vocabulary);
    return check_room(decoder, feed->text, feed->count);
}

// The next rows to process together, from token *done of feeds[*at] on; advances both. A text is cut where it
// would be cut if it were alone: a piece that is not the rest of its text is a block by itself.
static struct block next_block(struct cr_decoder *decoder, const struct cr_feed *feeds, size_t count,
                               size_t *at, size_t *done)
{
    struct cr_walk *walk = &decoder->walk;
    struct block block = {0};
    while (*at < count) {
        const struct cr_feed *feed = &feeds[*at];
        size_t left = feed->count - *done, part = cr_least(left, walk->size.rows - block.rows);
        if (part < left && block.rows > 0) break;
        size_t past = decoder->past->rows[feed->text] + *done;
        walk->past[block.sequences] = past;
        walk->key_offset[block.sequences] = feed->text * decoder->context;
        for (size_t i = 0; i < part; i++) {
            decoder->position[block.rows + i] = (uint32_t)(past - walk->size.prefix + i);
            if (feed->tokens) decoder->token[block.rows + i] = feed->tokens[*done + i];
        }
        block.rows += part;
        decoder->offset[++block.sequences] = block.rows;
        *done += part;
        if (part < left) break;
        ++*at;
        *done = 0;
    }
    return block;
}

// Runs the block's tokens, or the rows of `stream` if it is given, through all layers of the part. The result
// is in the last residual.
static enum cr_status walk_block(struct cr_decoder *decoder, struct block block,
                                 const struct cr_matrix *stream)
{
    struct cr_walk *walk = &decoder->walk;
    walk->caches = decoder->past->caches;
    struct cr_view view = {
        .rows = block.rows,
        .position = decoder->position,
        .layout = {.sequences = block.sequences,
                   .offset = decoder->offset,
                   .key_offset = walk->key_offset,
                   .past = walk->past},
    };
    if (stream)
        cr_copy_matrix(walk->model->compute, *stream,
                       cr_walk_residual(walk, 2 * walk->size.first, block.rows));
    else
        cr_walk_embed(walk, &view, decoder->token);
    for (size_t layer = walk->size.first; layer < walk->size.last; layer++)
        CR_TRY(
            cr_walk_layer(walk, &view, layer,
                          decoder->tuned && decoder->tuned->layers ? &decoder->tuned->layers[layer] : NULL));
    return CR_OK;
}

// Computes the logits after each text that ends in this block, and writes them from row `first` on.
static enum cr_status take_logits(struct cr_decoder *decoder, struct block block, size_t first)
{
    struct cr_walk *walk = &decoder->walk;
    size_t vocabulary = walk->model->config.vocabulary;
    float *logits = decoder->logits + first * vocabulary;
    for (size_t s = 0; s < block.sequences; s++) walk->head_row[s] = (uint32_t)(decoder->offset[s + 1] - 1);
    CR_TRY(cr_head_logits(walk, cr_walk_residual(walk, 2 * walk->size.last, block.rows), block.sequences,
                          cr_matrix_of(logits, CR_F32, block.sequences, vocabulary)));
    if (cr_all_finite(walk->model->compute, logits, block.sequences * vocabulary)) return CR_OK;
    return cr_model_fail_nonfinite(walk->model, "a logit", "");
}

// Counts the rows as taken, once everything has succeeded.
static void keep(struct cr_decoder *decoder, const struct cr_feed *feeds, size_t count)
{
    for (size_t i = 0; i < count; i++) decoder->past->rows[feeds[i].text] += feeds[i].count;
}

enum cr_status cr_decoder_feed(struct cr_decoder *decoder, const struct cr_feed *feeds, size_t count,
                               const float **logits)
{
    for (size_t i = 0; i < count; i++) CR_TRY(check_tokens(decoder, &feeds[i]));
    for (size_t at = 0, done = 0; at < count;) {
        size_t first = at;
        struct block block = next_block(decoder, feeds, count, &at, &done);
        CR_TRY(walk_block(decoder, block, NULL));
        if (at > first) CR_TRY(take_logits(decoder, block, first));
    }
    keep(decoder, feeds, count);
    *logits = decoder->logits;
    return CR_OK;
}

enum cr_status cr_decoder_front(struct cr_decoder *decoder, const uint32_t *tokens, size_t count,
                                struct cr_matrix *stream)
{
    struct cr_walk *walk = &decoder->walk;
    const struct cr_feed feed = {0, tokens, count};
    size_t at = 0, done = 0;
    CR_TRY(check_tokens(decoder, &feed));
    if (count > walk->size.rows)
        return cr_fail(CR_INTERNAL, "%zu tokens at once, of at most %zu", count, walk->size.rows);
    CR_TRY(walk_block(decoder, next_block(decoder, &feed, 1, &at, &done), NULL));
    keep(decoder, &feed, 1);
    *stream = cr_walk_residual(walk, 2 * walk->size.last, count);
    return CR_OK;
}

enum cr_status cr_decoder_tail(struct cr_decoder *decoder, struct cr_matrix stream, const float **logits)
{
    const struct cr_feed feed = {.count = stream.rows};
    CR_TRY(check_room(decoder, 0, stream.rows));
    struct block block = {0};
    for (size_t at = 0, done = 0; at == 0;) {
        size_t from = done;
        block = next_block(decoder, &feed, 1, &at, &done);
        struct cr_matrix part = cr_matrix_rows(stream, from, block.rows);
        CR_TRY(walk_block(decoder, block, &part));
    }
    CR_TRY(take_logits(decoder, block, 0));
    keep(decoder, &feed, 1);
    *logits = decoder->logits;
    return CR_OK;
}

uint32_t cr_choose_token(const float *logits, size_t vocabulary, double temperature, double uniform)
{
    size_t best = 0;
    for (size_t i = 1; i < vocabulary; i++)
        if (logits[i] > logits[best]) best = i;
    if (temperature <= 0) return (uint32_t)best;
    double sum = 0, highest = (double)logits[best];
    for (size_t i = 0; i < vocabulary; i++) sum += exp(((double)logits[i] - highest) / temperature);
    // The last token with positive weight takes what rounding leaves over.
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
