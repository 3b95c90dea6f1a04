#include "tuning/spf.h"

#include "base/secret.h"
#include "tensor/matmul.h"
#include "tensor/ops.h"
#include "tuning/spf_file.h"

#include <stdio.h>
#include <stdlib.h>

// Gathered columns are made for this many rows of a pass at a time, so that scratch does not grow with the
// batch.
enum { ROW_BLOCK = 512 };

struct cr_spf;

// What is trained of one module of one layer.
struct spf_delta {
    struct cr_delta delta; // first: the model holds a pointer to it
    struct cr_spf *spf;
    const struct cr_spf_part *part;
    const struct cr_parameter *values;
};

struct cr_spf {
    struct cr_structure base; // first
    struct cr_spf_config config;
    struct cr_spf_selection selection;
    struct cr_compute *compute;
    enum cr_dtype act;
    void *working; // [count] act: rows as products read them; NULL if the values themselves are read
    struct spf_delta *deltas;

    // Nothing of this is kept between two passes that take turns.
    struct cr_arena scratch;
    void *gathered; // [ROW_BLOCK, most rows] F32 forward, act backward
    float *turned;  // cr_sparse_scratch
};

static const struct spf_delta *delta_of(const struct cr_delta_part *part)
{
    return (const struct spf_delta *)part->delta;
}

static float *values_of(const struct spf_delta *delta)
{
    return delta->spf->base.parameters.values + delta->values->offset;
}

static float *gradient_of(const struct spf_delta *delta)
{
    return delta->spf->base.parameters.gradients + delta->values->offset;
}

// The changed rows as products read them.
static struct cr_matrix rows_of(const struct spf_delta *delta)
{
    const struct cr_spf *spf = delta->spf;
    void *data = values_of(delta);
    if (spf->working) data = (char *)spf->working + delta->values->offset * cr_dtype_size(spf->act);
    return cr_matrix_of(data, spf->act, delta->part->row_count, delta->part->in);
}

static enum cr_status add_rows(const struct spf_delta *self, struct cr_matrix x, struct cr_matrix y)
{
    struct cr_spf *spf = self->spf;
    for (size_t first = 0; first < x.rows; first += ROW_BLOCK) {
        size_t rows = cr_least(x.rows - first, ROW_BLOCK);
        struct cr_matrix change = cr_matrix_of(spf->gathered, CR_F32, rows, self->part->row_count);
        CR_TRY(cr_matmul(spf->compute, CR_NT, cr_matrix_rows(x, first, rows), rows_of(self), change, false));
        cr_scatter_add_columns(spf->compute, change, self->part->rows, cr_matrix_rows(y, first, rows));
    }
    return CR_OK;
}

static enum cr_status rows_forward(const struct cr_delta_part *y, size_t count, struct cr_matrix x)
{
    for (size_t i = 0; i < count; i++) CR_TRY(add_rows(delta_of(&y[i]), x, y[i].columns));
    return CR_OK;
}

// The gradient's sums continue from block to block as those over the whole batch do (tensor/matmul.h), so the
// gradient has the same bits as the dense weight's.
static enum cr_status add_row_gradients(const struct spf_delta *self, struct cr_matrix x, struct cr_matrix dy,
                                        struct cr_matrix dx)
{
    struct cr_spf *spf = self->spf;
    size_t count = self->part->row_count;
    struct cr_matrix gradient = cr_matrix_of(gradient_of(self), CR_F32, count, self->part->in);
    for (size_t first = 0; first < x.rows; first += ROW_BLOCK) {
        size_t rows = cr_least(x.rows - first, ROW_BLOCK);
        struct cr_matrix some = cr_matrix_of(spf->gathered, spf->act, rows, count);
        cr_gather_columns(spf->compute, cr_matrix_rows(dy, first, rows), self->part->rows, some);
        CR_TRY(cr_matmul(spf->compute, CR_TN, some, cr_matrix_rows(x, first, rows), gradient, true));
        if (dx.data)
            CR_TRY(
                cr_matmul(spf->compute, CR_NN, some, rows_of(self), cr_matrix_rows(dx, first, rows), true));
    }
    return CR_OK;
}

static enum cr_status rows_backward(const struct cr_delta_part *dy, size_t count, struct cr_matrix x,
                                    struct cr_matrix dx)
{
    for (size_t i = 0; i < count; i++) CR_TRY(add_row_gradients(delta_of(&dy[i]), x, dy[i].columns, dx));
    return CR_OK;
}

static const struct cr_delta_kind rows_kind = {.forward = rows_forward, .backward = rows_backward};

static enum cr_status elements_forward(const struct cr_delta_part *y, size_t count, struct cr_matrix x)
{
    for (size_t i = 0; i < count; i++) {
        const struct spf_delta *self = delta_of(&y[i]);
        cr_sparse_forward(self->spf->compute, &self->part->elements, values_of(self), x, y[i].columns,
                          self->spf->turned);
    }
    return CR_OK;
}

static enum cr_status elements_backward(const struct cr_delta_part *dy, size_t count, struct cr_matrix x,
                                        struct cr_matrix dx)
{
    for (size_t i = 0; i < count; i++) {
        const struct spf_delta *self = delta_of(&dy[i]);
        cr_sparse_backward(self->spf->compute, &self->part->elements, values_of(self), x, dy[i].columns,
                           gradient_of(self), dx, self->spf->turned);
    }
    return CR_OK;
}

static const struct cr_delta_kind elements_kind = {.forward = elements_forward,
                                                   .backward = elements_backward};

static enum cr_status spf_refresh(struct cr_structure *structure)
{
    struct cr_spf *spf = (struct cr_spf *)structure;
    if (spf->working)
        cr_convert(spf->compute, structure->parameters.values, CR_F32, spf->working, spf->act,
                   structure->parameters.count);
    return CR_OK;
}

static struct cr_slice words(const uint32_t *words, size_t count)
{
    return (struct cr_slice){(const unsigned char *)words, count * sizeof *words};
}

// Two runs train the same thing only if they chose the same places.
static enum cr_status spf_describe(const struct cr_structure *structure, struct cr_hasher *hasher)
{
    const struct cr_spf_selection *selection = &((const struct cr_spf *)structure)->selection;
    CR_TRY(cr_hasher_add(hasher, cr_slice_of_string(selection->elements ? "spf elements\n" : "spf rows\n")));
    for (size_t i = 0; i < selection->count; i++) {
        const struct cr_spf_part *part = &selection->parts[i];
        if (part->rows) {
            CR_TRY(cr_hasher_add(hasher, words(part->rows, part->row_count)));
            continue;
        }
        CR_TRY(cr_hasher_add(hasher, words(part->elements.start, part->out + 1)));
        CR_TRY(cr_hasher_add(hasher, words(part->elements.index, part->elements.count)));
    }
    return CR_OK;
}

static enum cr_status spf_save(struct cr_structure *structure, const char *base, const char *directory)
{
    const struct cr_spf *spf = (const struct cr_spf *)structure;
    return cr_spf_write(directory, &spf->config, base, &structure->model->config, &spf->selection,
                        &structure->parameters);
}

static enum cr_status spf_merge(const struct cr_structure *structure, struct cr_module_place place,
                                struct cr_matrix weight)
{
    const struct spf_delta *delta =
        (const struct spf_delta *)structure->tuned.layers[place.layer].delta[place.module];
    const struct cr_spf_part *part = delta->part;
    const float *value = values_of(delta);
    float *w = weight.data;
    for (size_t i = 0; i < part->row_count; i++)
        for (size_t k = 0; k < part->in; k++) w[part->rows[i] * part->in + k] += *value++;
    for (size_t r = 0; !part->rows && r < part->out; r++)
        for (uint32_t j = part->elements.start[r]; j < part->elements.start[r + 1]; j++)
            w[r * part->in + part->elements.index[j]] += *value++;
    return CR_OK;
}

static void spf_release(struct cr_structure *structure)
{
    struct cr_spf *spf = (struct cr_spf *)structure;
    free(spf->deltas);
    cr_secret_free(&spf->working);
    if (spf->scratch.base) cr_wipe(spf->scratch.base, spf->scratch.size);
    cr_arena_release(&spf->scratch);
    cr_spf_selection_release(&spf->selection);
    cr_targets_release(&spf->config.targets);
}

// Bytes of the lists of places: for rows, or for elements, which are also listed by columns.
static size_t lists_memory(bool elements, size_t values, size_t rows, size_t columns)
{
    return sizeof(uint32_t) * (elements ? 3 * values + rows + columns : rows);
}

static size_t spf_memory(const struct cr_structure *structure)
{
    const struct cr_spf *spf = (const struct cr_spf *)structure;
    size_t size = spf->scratch.size;
    if (spf->working) size += structure->parameters.count * cr_dtype_size(spf->act);
    for (size_t i = 0; i < spf->selection.count; i++) {
        const struct cr_spf_part *part = &spf->selection.parts[i];
        size += lists_memory(!part->rows, part->elements.count, part->rows ? part->row_count : part->out + 1,
                             part->in + 1);
    }
    return size;
}

static const struct cr_structure_kind spf_kind = {
    .refresh = spf_refresh,
    .describe = spf_describe,
    .save = spf_save,
    .merge = spf_merge,
    .release = spf_release,
    .memory = spf_memory,
};

// Places the scratch; called first to count its size, then to place it.
static void lay_out(struct cr_spf *spf)
{
    size_t rows = 0, turned = 0;
    for (size_t i = 0; i < spf->selection.count; i++) {
        const struct cr_spf_part *part = &spf->selection.parts[i];
        rows = cr_most(rows, part->row_count);
        turned = cr_most(turned, cr_sparse_scratch(part->out, part->in));
    }
    if (spf->selection.elements)
        spf->turned = cr_arena_take(&spf->scratch, turned, sizeof(float));
    else
        spf->gathered = cr_arena_take(&spf->scratch, ROW_BLOCK * rows, sizeof(float));
}

// Makes the parameters and puts a delta into each place of the model.
static enum cr_status make_deltas(struct cr_spf *spf)
{
    struct cr_structure *base = &spf->base;
    const struct cr_model_config *model = &base->model->config;
    const struct cr_spf_selection *selection = &spf->selection;
    CR_TRY(cr_allocate(model->layers, sizeof *base->tuned.layers, &base->tuned.layers));
    CR_TRY(cr_allocate(selection->count, sizeof *spf->deltas, &spf->deltas));
    for (size_t i = 0; i < selection->count; i++) {
        const struct cr_spf_part *part = &selection->parts[i];
        char place[CR_PLACE_NAME_SIZE], name[CR_PLACE_NAME_SIZE + 16];
        (void)cr_module_place_name(model, part->place, place); // a place of the model has a name
        snprintf(name, sizeof name, "%s.weight.values", place);
        CR_TRY(cr_parameters_add(&base->parameters, name, part->rows ? part->row_count : part->elements.count,
                                 part->rows ? part->in : 0));
    }
    for (size_t i = 0; i < selection->count; i++) {
        const struct cr_spf_part *part = &selection->parts[i];
        spf->deltas[i] = (struct spf_delta){.delta.kind = part->rows ? &rows_kind : &elements_kind,
                                            .spf = spf,
                                            .part = part,
                                            .values = &base->parameters.items[i]};
        base->tuned.layers[part->place.layer].delta[part->place.module] = &spf->deltas[i].delta;
    }
    return CR_OK;
}

static enum cr_status build(struct cr_spf *spf, const struct cr_spf_config *config, bool training)
{
    struct cr_parameters *parameters = &spf->base.parameters;
    struct cr_targets targets;
    CR_TRY(cr_targets_copy(&config->targets, &targets));
    spf->config = *config;
    spf->config.targets = targets;
    CR_TRY(make_deltas(spf));
    CR_TRY(cr_parameters_commit(parameters, training));
    // Elements are multiplied in F32, without a copy.
    if (spf->act != CR_F32 && !spf->selection.elements)
        CR_TRY(cr_secret_allocate(parameters->count, cr_dtype_size(spf->act), &spf->working));
    lay_out(spf);
    CR_TRY(cr_arena_commit(&spf->scratch));
    lay_out(spf);
    return CR_OK;
}

enum cr_status cr_spf_new(const struct cr_spf_config *config, struct cr_spf_selection *selection,
                          struct cr_model *model, bool training, struct cr_structure **out)
{
    struct cr_spf *spf;
    enum cr_status status = cr_allocate(1, sizeof *spf, &spf);
    if (status != CR_OK) {
        cr_spf_selection_release(selection);
        return status;
    }
    spf->base = (struct cr_structure){.kind = &spf_kind, .model = model};
    spf->compute = model->compute;
    spf->act = model->act;
    spf->selection = *selection;
    *selection = (struct cr_spf_selection){0};
    status = build(spf, config, training);
    if (status == CR_OK)
        *out = &spf->base;
    else
        cr_structure_free(&spf->base);
    return status;
}

enum cr_status cr_spf_memory_of(const struct cr_spf_config *config, const struct cr_model_config *model,
                                enum cr_dtype act, size_t *beside)
{
    bool elements = config->granularity == CR_SPF_ELEMENT;
    CR_FREE struct cr_module_place *places = NULL;
    size_t count, named, values, rows = 0, columns = 0, most_rows = 0, scratch = 0;
    CR_TRY(cr_spf_places(config, model, &places, &count));
    CR_TRY(cr_spf_budget(config, model, &named, &values));
    for (size_t i = 0; i < count; i++) {
        size_t out, in;
        cr_module_shape(model, places[i].module, &out, &in);
        rows += out + 1;
        columns += in + 1;
        most_rows = cr_most(most_rows, cr_least(out, values / in));
        scratch = cr_most(scratch, cr_sparse_scratch(out, in));
    }
    if (!elements) scratch = ROW_BLOCK * most_rows;
    *beside = scratch * sizeof(float) +
              lists_memory(elements, values, elements ? rows : values / model->hidden, columns);
    if (act != CR_F32 && !elements) *beside += values * cr_dtype_size(act);
    return CR_OK;
}

void cr_spf_config_release(struct cr_spf_config *config)
{
    cr_targets_release(&config->targets);
}
