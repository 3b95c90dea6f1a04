#include "model/generate.h"

#include "model/head.h"
#include "tensor/ops.h"

#include <math.h>
#include <stdlib.h>

// Rows of a prompt that are walked at once: a long prompt then needs no more working memory than this.
enum { PREFILL = 512 };

struct cr_decoder {
    struct cr_walk walk;
    const struct cr_tuned *tuned;
    uint32_t *position; // [walk.size.rows]
    float *logits;      // [V]
};

// The prefix is the past of a decoder that was fed nothing.
static void fill_prefix(struct cr_decoder *decoder)
{
    const struct cr_walk *walk = &decoder->walk;
    struct cr_compute *compute = walk->model->compute;
    size_t columns = walk->shape.kv_heads * walk->shape.head_dim, rows = walk->size.prefix;
    for (size_t layer = 0; layer < walk->model->config.layers; layer++) {
        struct cr_matrix values = decoder->tuned->layers[layer].prefix.values;
        cr_copy_matrix(compute, cr_matrix_columns(values, 0, columns),
                       cr_matrix_rows(walk->caches[layer].k, 0, rows));
        cr_copy_matrix(compute, cr_matrix_columns(values, columns, columns),
                       cr_matrix_rows(walk->caches[layer].v, 0, rows));
    }
}

enum cr_status cr_decoder_new(const struct cr_model *model, const struct cr_tuned *tuned, size_t context,
                              struct cr_decoder **out)
{
    size_t prefix = tuned ? tuned->prefix : 0, most = model->config.context;
    if (context == 0 || prefix > most || context > most - prefix)
        return cr_fail(CR_INVALID,
                       "a prefix of %zu and a context of %zu tokens are not within the model's %zu", prefix,
                       context, most);
    struct cr_walk_size size = {.last = model->config.layers,
                                .rows = cr_least(context, PREFILL),
                                .sequences = 1,
                                .positions = context,
                                .prefix = prefix,
                                .cache = prefix + context};
    struct cr_decoder *decoder;
    CR_TRY(cr_allocate(1, sizeof *decoder, &decoder));
    decoder->tuned = tuned;
    enum cr_status status = cr_walk_init(model, &size, &decoder->walk);
    if (status == CR_OK) status = cr_allocate(size.rows, sizeof *decoder->position, &decoder->position);
    if (status == CR_OK)
        status = cr_allocate(model->config.vocabulary, sizeof *decoder->logits, &decoder->logits);
    if (status != CR_OK) {
        cr_decoder_free(decoder);
        return status;
    }
    if (prefix > 0) fill_prefix(decoder);
    *out = decoder;
    return CR_OK;
}

void cr_decoder_free(struct cr_decoder *decoder)
{
    if (!decoder) return;
    if (decoder->logits) cr_wipe(decoder->logits, decoder->walk.model->config.vocabulary * sizeof(float));
    cr_walk_release(&decoder->walk);
    free(decoder->position);
    free(decoder->logits);
    free(decoder);
}

// At most size.rows tokens through all layers; the stream is left in the last residual.
static enum cr_status feed_part(struct cr_decoder *decoder, const uint32_t *tokens, size_t count)
{
    struct cr_walk *walk = &decoder->walk;
    const struct cr_model *model = walk->model;
    const size_t offset[2] = {0, count}, key_offset[1] = {0};
    for (size_t i = 0; i < count; i++)
        decoder->position[i] = (uint32_t)(walk->past[0] - walk->size.prefix + i);
    struct cr_view view = {
        .rows = count,
        .position = decoder->position,
        .layout = {.sequences = 1, .offset = offset, .key_offset = key_offset, .past = walk->past},
    };
    cr_walk_embed(walk, &view, tokens);
    for (size_t layer = 0; layer < model->config.layers; layer++)
        CR_TRY(
            cr_walk_layer(walk, &view, layer,
                          decoder->tuned && decoder->tuned->layers ? &decoder->tuned->layers[layer] : NULL));
    walk->past[0] += count;
    return CR_OK;
}

enum cr_status cr_decoder_feed(struct cr_decoder *decoder, const uint32_t *tokens, size_t count,
                               const float **logits)
{
    struct cr_walk *walk = &decoder->walk;
    const struct cr_model_config *config = &walk->model->config;
    if (count == 0) return cr_fail(CR_INVALID, "no tokens to continue from");
    if (count > walk->size.cache - walk->past[0])
        return cr_fail(CR_INVALID, "%zu tokens do not fit the context of %zu, of which %zu are taken", count,
                       walk->size.cache, walk->past[0]);
    for (size_t i = 0; i < count; i++)
        if (tokens[i] >= config->vocabulary)
            return cr_fail(CR_INVALID, "token %u is outside the model's vocabulary of %zu", tokens[i],
                           config->vocabulary);
    size_t part = 0, past = walk->past[0];
    enum cr_status status = CR_OK;
    for (size_t at = 0; status == CR_OK && at < count; at += part) {
        part = cr_least(count - at, walk->size.rows);
        status = feed_part(decoder, tokens + at, part);
    }
    if (status == CR_OK) {
        walk->head_row[0] = (uint32_t)(part - 1);
        status = cr_head_logits(walk, cr_walk_residual(walk, 2 * config->layers, part), 1,
                                cr_matrix_of(decoder->logits, CR_F32, 1, config->vocabulary));
    }
    if (status == CR_OK && !cr_all_finite(walk->model->compute, decoder->logits, config->vocabulary))
        status = cr_model_fail_nonfinite(walk->model, "a logit", "");
    if (status == CR_OK)
        *logits = decoder->logits;
    else
        walk->past[0] = past;
    return status;
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
