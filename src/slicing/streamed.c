#include "slicing/streamed.h"

#include "model/exact.h"
#include "model/pass.h"
#include "tensor/ops.h"

#include <stdlib.h>

// A linear whose matrix is read from the checkpoint for each product.
struct streamed_linear {
    struct cr_streamed *streamed;
    size_t index; // of the linear, as in model/frozen.h
};

struct cr_streamed {
    const struct cr_model *model; // the run's model; its checkpoint is read
    const struct cr_facts *facts;
    struct cr_field *field;
    size_t layers, rows;
    struct cr_model view; // in F32, with linears of its own; its tables are the rows of one sequence
    struct cr_exact *exact;
    struct cr_pass *pass;
    struct streamed_linear *linears;
    int8_t *numbers; // of the current matrix
    float *scales;
    struct cr_bound *bounds; // of the current matrix
    uint32_t *sums;          // [2, the longest row]
    uint32_t *place;         // [rows] 0, 1, ...
    size_t offset[2];        // {0, length} of the sequence
    struct cr_arena tables;
};

static enum cr_status read_matrix(struct cr_streamed *streamed, size_t index, struct cr_matrix *out)
{
    const struct cr_fact *fact = &streamed->facts->matrices[index];
    const struct cr_way *way = &fact->way[false];
    struct cr_matrix q = cr_matrix_of(streamed->numbers, CR_I8, fact->out, fact->in);
    q.scale = streamed->scales;
    CR_TRY(cr_frozen_read(streamed->model->compute, streamed->model, index, q));
    cr_way_vectors(way, streamed->field, q, false, streamed->sums);
    uint32_t off = 0;
    for (size_t i = 0; i < 2 * way->depth; i++) off |= streamed->sums[i] ^ way->v[i];
    cr_wipe(streamed->sums, 2 * way->depth * sizeof *streamed->sums);
    if (off != 0) {
        char name[CR_FROZEN_NAME_SIZE];
        cr_frozen_name(streamed->facts->count, index, name);
        return cr_fail(CR_DENIED, "%s: %s is no longer what it was when the run began",
                       cr_safetensors_name(streamed->model->weights), name);
    }
    q.scale = fact->scale; // as read at the start, like v and s
    *out = q;
    return CR_OK;
}

static enum cr_status streamed_forward(const struct cr_linear *self, struct cr_matrix x, struct cr_matrix y)
{
    const struct streamed_linear *linear = self->state;
    struct cr_matrix q;
    CR_TRY(read_matrix(linear->streamed, linear->index, &q));
    CR_TRY(cr_exact_bound(q, linear->streamed->bounds));
    CR_TRY(cr_exact_forward(linear->streamed->exact, linear->streamed->bounds, q, x, y));
    if (self->bias) cr_add_row(self->compute, y, self->bias);
    return CR_OK;
}

// There is no backward pass, and nothing to release.
static const struct cr_linear_provider provider = {.forward = streamed_forward};

static void place_tables(struct cr_streamed *streamed)
{
    struct cr_model *view = &streamed->view;
    size_t rows = streamed->rows, hidden = view->config.hidden;
    float *embedding = cr_arena_take(&streamed->tables, rows * hidden, sizeof *embedding);
    view->embedding = cr_matrix_of(embedding, CR_F32, rows, hidden);
    if (!view->config.learned_positions) return;
    float *positions = cr_arena_take(&streamed->tables, rows * hidden, sizeof *positions);
    view->positions = cr_matrix_of(positions, CR_F32, rows, hidden);
}

// Makes the view: the model in F32. Its "vocabulary" are the positions in the current sequence.
static enum cr_status make_view(struct cr_streamed *streamed)
{
    struct cr_model *view = &streamed->view;
    size_t count = cr_frozen_count(streamed->model) - 1; // the head is not among the layers
    *view = *streamed->model;
    view->act = CR_F32;
    view->config.vocabulary = streamed->rows;
    CR_TRY(cr_allocate(view->config.layers, sizeof *view->layers, &view->layers));
    for (size_t i = 0; i < view->config.layers; i++) view->layers[i] = streamed->model->layers[i];
    CR_TRY(cr_allocate(count, sizeof *streamed->linears, &streamed->linears));
    for (size_t i = 0; i < count; i++) {
        struct cr_linear *linear = cr_frozen_linear(view, i);
        streamed->linears[i] = (struct streamed_linear){streamed, i};
        linear->provider = &provider;
        linear->state = &streamed->linears[i];
    }
    place_tables(streamed);
    CR_TRY(cr_arena_commit(&streamed->tables));
    place_tables(streamed);
    return CR_OK;
}

static struct cr_pass_size size_of(size_t layers, size_t rows)
{
    return (struct cr_pass_size){.rows = rows, .sequences = 1, .last = layers};
}

size_t cr_streamed_memory_of(const struct cr_model *model, size_t layers, size_t rows)
{
    struct cr_streamed streamed = {.rows = rows, .view = *model};
    const struct cr_pass_size size = size_of(layers, rows);
    size_t longest, numbers;
    streamed.view.act = CR_F32;
    place_tables(&streamed);
    cr_frozen_layer_size(&streamed.view, &longest, &numbers);
    return streamed.tables.used + numbers + cr_exact_memory_of(longest) +
           cr_pass_memory_of(&streamed.view, &size, false);
}

static enum cr_status make(struct cr_streamed *streamed)
{
    const struct cr_pass_size size = size_of(streamed->layers, streamed->rows);
    size_t longest, numbers;
    CR_TRY(make_view(streamed));
    cr_frozen_layer_size(&streamed->view, &longest, &numbers);
    CR_TRY(cr_exact_new(streamed->model->compute, longest, &streamed->exact));
    CR_TRY(cr_allocate(numbers, 1, &streamed->numbers));
    CR_TRY(cr_allocate(longest, sizeof *streamed->scales, &streamed->scales));
    CR_TRY(cr_allocate(cr_bound_parts(longest, false), sizeof *streamed->bounds, &streamed->bounds));
    CR_TRY(cr_allocate(2 * longest, sizeof *streamed->sums, &streamed->sums));
    CR_TRY(cr_allocate(streamed->rows, sizeof *streamed->place, &streamed->place));
    for (size_t i = 0; i < streamed->rows; i++) streamed->place[i] = (uint32_t)i;
    return cr_pass_new(&streamed->view, &size, NULL, &streamed->pass);
}

enum cr_status cr_streamed_new(const struct cr_model *model, const struct cr_facts *facts,
                               struct cr_field *field, size_t layers, size_t rows, struct cr_streamed **out)
{
    struct cr_streamed *streamed;
    CR_TRY(cr_allocate(1, sizeof *streamed, &streamed));
    streamed->model = model;
    streamed->facts = facts;
    streamed->field = field;
    streamed->layers = layers;
    streamed->rows = rows;
    enum cr_status status = make(streamed);
    if (status == CR_OK)
        *out = streamed;
    else
        cr_streamed_free(streamed);
    return status;
}

void cr_streamed_free(struct cr_streamed *streamed)
{
    if (!streamed) return;
    cr_pass_free(streamed->pass);
    cr_exact_free(streamed->exact);
    free(streamed->view.layers);
    cr_arena_release(&streamed->tables);
    free(streamed->linears);
    free(streamed->numbers);
    free(streamed->scales);
    free(streamed->bounds);
    free(streamed->sums);
    free(streamed->place);
    free(streamed);
}

enum cr_status cr_streamed_walk(struct cr_streamed *streamed, const uint32_t *tokens, size_t count,
                                struct cr_matrix *stream)
{
    const struct cr_model *model = streamed->model, *view = &streamed->view;
    if (count == 0 || count > streamed->rows)
        return cr_fail(CR_INTERNAL, "a front of %zu tokens where there is room for %zu", count,
                       streamed->rows);
    CR_TRY(
        cr_frozen_rows(model->compute, model, CR_PARAMETER_EMBEDDING, tokens, count, view->embedding.data));
    if (model->config.learned_positions)
        CR_TRY(cr_frozen_rows(model->compute, model, CR_PARAMETER_POSITION, streamed->place, count,
                              view->positions.data));
    streamed->offset[1] = count;
    const struct cr_rows rows = {.sequences = 1,
                                 .rows = count,
                                 .offset = streamed->offset,
                                 .tokens = streamed->place,
                                 .position = streamed->place};
    CR_TRY(cr_pass_forward(streamed->pass, NULL, &rows, 0, streamed->layers));
    *stream = cr_matrix_rows(cr_pass_stream(streamed->pass), 0, count);
    return CR_OK;
}
