#include "model/pass.h"

#include "model/head.h"
#include "tensor/ops.h"

#include <stdlib.h>
#include <string.h>

#define NO_GRADIENT SIZE_MAX
#define NO_LAYER SIZE_MAX

struct cr_pass {
    struct cr_walk walk;
    size_t rows;        // of the last forward pass
    size_t first, last; // layers whose traces are of that pass, whose stream is the one before layer `last`
    size_t gradient_at; // walk.gradient is that of the stream before this layer, or NO_GRADIENT

    struct cr_keep *store; // NULL: the walk has a trace for every layer
    size_t resident;       // the layer whose trace the walk holds, or NO_LAYER
    size_t lowest;         // the lowest tuned place in that pass: nothing below it is in the store
};

static struct cr_walk_size walk_size(const struct cr_model *model, const struct cr_pass_size *size,
                                     bool outside)
{
    return (struct cr_walk_size){.first = size->first,
                                 .last = size->last > 0 ? size->last : model->config.layers,
                                 .rows = size->rows,
                                 .sequences = size->sequences,
                                 .positions = cr_least(size->rows, model->config.context - size->prefix),
                                 .prefix = size->prefix,
                                 .backward = size->backward,
                                 .outside = outside};
}

size_t cr_pass_memory_of(const struct cr_model *model, const struct cr_pass_size *size, bool outside)
{
    struct cr_walk_size walk = walk_size(model, size, outside);
    return sizeof(struct cr_pass) + cr_walk_memory(model, &walk);
}

// Checks that layers [first, last) are within the model's or the pass's [least, most).
static enum cr_status check_layers(size_t first, size_t last, size_t least, size_t most)
{
    if (first >= least && first <= last && last <= most) return CR_OK;
    return cr_fail(CR_INVALID, "layers %zu to %zu are not among those from %zu to %zu", first, last, least,
                   most);
}

static enum cr_status reserve(struct cr_pass *pass)
{
    struct cr_keep_part parts[CR_KEEP_PARTS];
    size_t count = cr_walk_parts(&pass->walk, 0, pass->walk.size.rows, parts), size = 0;
    for (size_t i = 0; i < count; i++) size += parts[i].size;
    return pass->store->reserve(pass->store, pass->walk.size.last - pass->walk.size.first, size);
}

enum cr_status cr_pass_new(const struct cr_model *model, const struct cr_pass_size *size,
                           struct cr_keep *store, struct cr_pass **out)
{
    size_t context = model->config.context;
    if (size->rows == 0 || size->sequences == 0)
        return cr_fail(CR_INVALID, "a pass needs at least one row and sequence");
    if (size->prefix >= context)
        return cr_fail(CR_INVALID, "a prefix of %zu leaves no room in the model's context of %zu",
                       size->prefix, context);
    if (store && !size->backward) return cr_fail(CR_INTERNAL, "a store for a pass made without backward");
    const struct cr_walk_size walk = walk_size(model, size, store != NULL);
    CR_TRY(check_layers(walk.first, walk.last, 0, model->config.layers));
    struct cr_pass *pass;
    CR_TRY(cr_allocate(1, sizeof *pass, &pass));
    pass->first = pass->last = walk.first;
    pass->gradient_at = NO_GRADIENT;
    pass->store = store;
    pass->resident = NO_LAYER;
    enum cr_status status = cr_walk_init(model, &walk, &pass->walk);
    if (status == CR_OK && store && walk.first < walk.last) status = reserve(pass);
    if (status == CR_OK)
        *out = pass;
    else
        cr_pass_free(pass);
    return status;
}

void cr_pass_free(struct cr_pass *pass)
{
    if (!pass) return;
    cr_walk_release(&pass->walk);
    free(pass);
}

size_t cr_pass_memory(const struct cr_pass *pass)
{
    return sizeof *pass + pass->walk.arena.size;
}

// Checks every index that kernels use without checking. `embedded`: tokens too.
static enum cr_status check_rows(const struct cr_pass *pass, const struct cr_rows *rows, bool embedded)
{
    const struct cr_walk *walk = &pass->walk;
    const struct cr_model_config *config = &walk->model->config;
    if (rows->rows == 0 || rows->rows > walk->size.rows)
        return cr_fail(CR_INVALID, "a batch of %zu rows does not fit a pass of %zu", rows->rows,
                       walk->size.rows);
    if (rows->sequences == 0 || rows->sequences > walk->size.sequences)
        return cr_fail(CR_INVALID, "a batch of %zu sequences does not fit a pass of %zu", rows->sequences,
                       walk->size.sequences);
    if (rows->offset[0] != 0 || rows->offset[rows->sequences] != rows->rows)
        return cr_fail(CR_INVALID, "the sequences of a batch do not cover its %zu rows", rows->rows);
    for (size_t i = 0; i < rows->sequences; i++)
        if (rows->offset[i] > rows->offset[i + 1])
            return cr_fail(CR_INVALID, "sequence %zu of a batch ends before it begins", i);
    for (size_t i = 0; i < rows->rows; i++) {
        if (embedded && rows->tokens[i] >= config->vocabulary)
            return cr_fail(CR_INVALID, "token %u is outside the model's vocabulary of %zu", rows->tokens[i],
                           config->vocabulary);
        if (rows->position[i] >= walk->size.positions)
            return cr_fail(CR_INVALID, "position %u is outside the %s of %zu", rows->position[i],
                           walk->size.positions < walk->size.rows ? "model's context" : "pass's rows",
                           walk->size.positions);
    }
    return CR_OK;
}

// A sequence's keys come after those of the sequences before it and the prefix of each of them.
static struct cr_view view_of(const struct cr_pass *pass, const struct cr_rows *rows)
{
    const struct cr_walk *walk = &pass->walk;
    for (size_t s = 0; s < rows->sequences; s++)
        walk->key_offset[s] = rows->offset[s] + s * walk->size.prefix;
    return (struct cr_view){
        .rows = rows->rows,
        .position = rows->position,
        .layout = {.sequences = rows->sequences,
                   .offset = rows->offset,
                   .key_offset = walk->key_offset,
                   .past = walk->past},
    };
}

// A pass has memory and position tables for one size of prefix only.
static enum cr_status check_prefix(const struct cr_pass *pass, const struct cr_tuned *tuned)
{
    size_t prefix = tuned ? tuned->prefix : 0, room = pass->walk.size.prefix;
    if (prefix == room) return CR_OK;
    return cr_fail(CR_INTERNAL, "a batch with a prefix of %zu in a pass made for one of %zu", prefix, room);
}

// Moves the caller's stream to where layer `first` reads it.
static void move_stream(struct cr_pass *pass, size_t first, size_t rows)
{
    struct cr_matrix from = cr_walk_residual(&pass->walk, 2 * pass->last, rows);
    struct cr_matrix to = cr_walk_residual(&pass->walk, 2 * first, rows);
    if (from.data != to.data) cr_copy_matrix(pass->walk.model->compute, from, to);
}

// Called before a layer runs forward: stores the previous layer's trace, which is still in memory. The last
// layer's trace is not stored, because the backward pass begins with it.
static enum cr_status make_room(struct cr_pass *pass, size_t layer)
{
    struct cr_keep_part parts[CR_KEEP_PARTS];
    size_t before = pass->resident;
    if (!pass->store) return CR_OK;
    if (before != NO_LAYER && cr_has_way_back(before, pass->lowest)) {
        size_t count = cr_walk_parts(&pass->walk, before, pass->rows, parts);
        enum cr_status status = pass->store->put(pass->store, before - pass->walk.size.first, parts, count);
        if (status != CR_OK) return cr_fail_within(status, "layer %zu", before);
    }
    pass->resident = layer;
    return CR_OK;
}

// Called before a layer runs backward: makes its trace available.
static enum cr_status bring_back(struct cr_pass *pass, size_t layer)
{
    struct cr_keep_part parts[CR_KEEP_PARTS];
    if (!pass->store || pass->resident == layer) return CR_OK;
    size_t count = cr_walk_parts(&pass->walk, layer, pass->rows, parts);
    pass->resident = layer;
    enum cr_status status = pass->store->get(pass->store, layer - pass->walk.size.first, parts, count);
    return status == CR_OK ? CR_OK : cr_fail_within(status, "layer %zu", layer);
}

enum cr_status cr_pass_forward(struct cr_pass *pass, const struct cr_tuned *tuned, const struct cr_rows *rows,
                               size_t first, size_t last)
{
    struct cr_walk *walk = &pass->walk;
    CR_TRY(check_layers(first, last, walk->size.first, walk->size.last));
    CR_TRY(check_prefix(pass, tuned));
    bool embedded = first == 0 && rows->tokens;
    CR_TRY(check_rows(pass, rows, embedded));
    struct cr_view view = view_of(pass, rows);
    pass->gradient_at = NO_GRADIENT;
    size_t lowest = cr_walk_lowest(walk, tuned);
    if (embedded)
        cr_walk_embed(walk, &view, rows->tokens);
    else
        move_stream(pass, first, rows->rows);
    if (first == walk->size.first || first != pass->last) {
        pass->first = first;
        pass->resident = NO_LAYER;
        pass->lowest = lowest;
    }
    pass->lowest = cr_most(pass->lowest, lowest);
    pass->last = first;
    pass->rows = rows->rows;
    for (size_t layer = first; layer < last; layer++) {
        CR_TRY(make_room(pass, layer));
        CR_TRY(cr_walk_layer(walk, &view, layer, tuned && tuned->layers ? &tuned->layers[layer] : NULL));
        pass->last = layer + 1;
    }
    return CR_OK;
}

struct cr_matrix cr_pass_stream(struct cr_pass *pass)
{
    return cr_walk_residual(&pass->walk, 2 * pass->last, pass->walk.size.rows);
}

// With a store the backward pass overwrites the stream.
static bool stream_is_there(const struct cr_pass *pass)
{
    return !pass->store || pass->resident == NO_LAYER || pass->resident + 1 == pass->last;
}

static enum cr_status check_end(const struct cr_pass *pass, size_t rows)
{
    if (!stream_is_there(pass))
        return cr_fail(CR_INTERNAL, "loss or logits of a batch after its backward pass");
    if (pass->last != pass->walk.model->config.layers || rows != pass->rows)
        return cr_fail(CR_INTERNAL, "loss or logits of a batch that has not been through all layers");
    return CR_OK;
}

static enum cr_status check_labels(const struct cr_pass *pass, const struct cr_rows *rows)
{
    size_t vocabulary = pass->walk.model->config.vocabulary;
    if (!rows->labels) return cr_fail(CR_INVALID, "a batch without labels has no loss");
    for (size_t i = 0; i < rows->rows; i++) {
        int32_t label = rows->labels[i];
        if (label != CR_UNLABELLED && (label < 0 || (size_t)label >= vocabulary))
            return cr_fail(CR_INVALID, "label %d is outside the model's vocabulary of %zu", label,
                           vocabulary);
    }
    return CR_OK;
}

enum cr_status cr_pass_loss(struct cr_pass *pass, const struct cr_tuned *tuned, const struct cr_rows *rows,
                            float scale, double *loss_sum, bool *right)
{
    struct cr_walk *walk = &pass->walk;
    CR_TRY(check_end(pass, rows->rows));
    CR_TRY(check_labels(pass, rows));
    if (scale > 0 && !walk->size.backward)
        return cr_fail(CR_INTERNAL, "a gradient from a pass made without backward");
    struct cr_matrix stream = cr_pass_stream(pass);
    double loss = 0;
    size_t count = 0;
    memset(walk->right, true, rows->rows * sizeof *walk->right);
    memset(walk->loss, 0, rows->rows * sizeof *walk->loss);
    if (scale > 0) memset(walk->gradient.data, 0, rows->rows * walk->gradient.stride * sizeof(float));
    for (size_t i = 0; i < rows->rows; i++) {
        if (rows->labels[i] != CR_UNLABELLED) {
            walk->head_row[count] = (uint32_t)i;
            walk->head_label[count++] = rows->labels[i];
        }
        if (count > 0 && (count == walk->chunk || i + 1 == rows->rows)) {
            CR_TRY(cr_head_loss(walk, tuned, stream, count, scale, &loss));
            for (size_t k = 0; k < count; k++) {
                walk->right[walk->head_row[k]] = walk->head_correct[k];
                walk->loss[walk->head_row[k]] = walk->head_loss[k];
            }
            count = 0;
        }
    }
    if (scale > 0) pass->gradient_at = walk->model->config.layers;
    *loss_sum += loss;
    if (right) memcpy(right, walk->right, rows->rows * sizeof *right);
    return CR_OK;
}

const float *cr_pass_row_losses(const struct cr_pass *pass)
{
    return pass->walk.loss;
}

enum cr_status cr_pass_logits(struct cr_pass *pass, const uint32_t *row, size_t count, float *logits)
{
    struct cr_walk *walk = &pass->walk;
    size_t vocabulary = walk->model->config.vocabulary;
    CR_TRY(check_end(pass, pass->rows));
    for (size_t i = 0; i < count; i++)
        if (row[i] >= pass->rows)
            return cr_fail(CR_INVALID, "row %u is outside the batch of %zu", row[i], pass->rows);
    for (size_t at = 0; at < count; at += walk->chunk) {
        size_t n = cr_least(walk->chunk, count - at);
        memcpy(walk->head_row, row + at, n * sizeof *row);
        CR_TRY(cr_head_logits(walk, cr_pass_stream(pass), n,
                              cr_matrix_of(logits + at * vocabulary, CR_F32, n, vocabulary)));
    }
    return CR_OK;
}

static void embed_back(const struct cr_walk *walk, const struct cr_tuned *tuned, const struct cr_rows *rows)
{
    const struct cr_model_config *config = &walk->model->config;
    struct cr_matrix gradient = cr_matrix_rows(walk->gradient, 0, rows->rows);
    if (tuned->embedding_gradient)
        cr_embed_backward(
            walk->model->compute, rows->tokens, gradient,
            cr_matrix_of(tuned->embedding_gradient, CR_F32, config->vocabulary, config->hidden));
    if (tuned->position_gradient)
        cr_embed_backward(walk->model->compute, rows->position, gradient,
                          cr_matrix_of(tuned->position_gradient, CR_F32, config->context, config->hidden));
}

enum cr_status cr_pass_backward(struct cr_pass *pass, const struct cr_tuned *tuned,
                                const struct cr_rows *rows, size_t first, size_t last)
{
    struct cr_walk *walk = &pass->walk;
    if (first > last || rows->rows != pass->rows || pass->gradient_at != last || first < pass->first)
        return cr_fail(CR_INTERNAL,
                       "a backward pass over layers without their forward pass, or without a loss");
    CR_TRY(check_prefix(pass, tuned));
    struct cr_view view = view_of(pass, rows);
    size_t lowest = cr_walk_lowest(walk, tuned);
    if (pass->store && lowest < pass->lowest)
        return cr_fail(CR_INTERNAL, "a backward pass to layers of which the forward pass kept nothing");
    pass->gradient_at = NO_GRADIENT;
    for (size_t layer = last; layer-- > first && cr_has_way_back(layer, lowest);) {
        CR_TRY(bring_back(pass, layer));
        CR_TRY(cr_walk_layer_back(walk, &view, layer, tuned && tuned->layers ? &tuned->layers[layer] : NULL,
                                  lowest));
    }
    if (first == 0 && tuned) embed_back(walk, tuned, rows);
    pass->gradient_at = first;
    return CR_OK;
}
