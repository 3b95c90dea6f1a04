#include "tuning/cutter.h"

#include "model/pass.h"
#include "text/batch.h"
#include "tuning/evaluate.h"
#include "tuning/session.h"

#include <stdlib.h>

// Rows of a pass, unless one example has more: enough to keep the products efficient.
enum { ROWS = 4096, SEQUENCES = 1024 };

struct cr_cutter {
    struct cr_compute *compute;
    char *base; // the model's directory
    bool in_8bit;
    int activations;
    size_t layers;
    struct cr_model *model;
    struct cr_tokenizer *tokenizer;
    struct cr_dataset *data;
    struct cr_pass *pass;
    struct cr_batch *batch;
};

static enum cr_status open_data(struct cr_cutter *cutter, const struct cr_tuning_config *config,
                                const struct cr_event_sink *sink)
{
    struct cr_dataset_options options = cr_data_options(&config->data);
    options.vocabulary = cutter->model->config.vocabulary;
    options.append_eos = true;
    options.sink = sink;
    options.pool = cr_compute_pool(cutter->compute);
    CR_TRY(cr_tokenizer_open(cutter->base, &cutter->tokenizer));
    CR_TRY(cr_tuning_config_check_context(config, cutter->model->config.context));
    return cr_dataset_open(config->data.train, cutter->tokenizer, &options, &cutter->data);
}

static enum cr_status build(struct cr_cutter *cutter, const struct cr_tuning_config *config,
                            const struct cr_event_sink *sink)
{
    enum cr_dtype act = cr_activation_type(cutter->compute, config->dtype, sink);
    const struct cr_model_part front = cr_model_front(cutter->layers);
    CR_TRY(cr_copy_string(config->model_name_or_path, &cutter->base));
    CR_TRY(cr_model_open(cutter->base, cr_model_form_of(cutter->in_8bit), &front, cutter->compute, act,
                         &cutter->model));
    CR_TRY(cr_tuning_config_check_split(config, cutter->model->config.layers));
    CR_TRY(open_data(cutter, config, sink));
    cr_warn_of_rows(cutter->data, "training data", sink);
    size_t rows = cr_most(ROWS, cr_evaluation_rows(cutter->data));
    CR_TRY(cr_batch_new(SEQUENCES, rows, &cutter->batch));
    // If no layer is below the cut, the pass still has room for one, which is not run.
    const struct cr_pass_size size = {
        .rows = rows, .sequences = SEQUENCES, .last = cr_most(cutter->layers, 1)};
    return cr_pass_new(cutter->model, &size, NULL, &cutter->pass);
}

enum cr_status cr_cutter_new(const struct cr_tuning_config *config, struct cr_compute *compute,
                             const struct cr_event_sink *sink, struct cr_cutter **out)
{
    struct cr_cutter *cutter;
    CR_TRY(cr_allocate(1, sizeof *cutter, &cutter));
    cutter->compute = compute;
    cutter->in_8bit = cr_tuning_config_in_8bit(config);
    cutter->activations = config->split.activations;
    cutter->layers = config->split.layers;
    enum cr_status status = build(cutter, config, sink);
    if (status != CR_OK)
        cr_cutter_free(cutter);
    else
        *out = cutter;
    return status;
}

void cr_cutter_free(struct cr_cutter *cutter)
{
    if (!cutter) return;
    cr_pass_free(cutter->pass);
    cr_batch_free(cutter->batch);
    cr_dataset_free(cutter->data);
    cr_tokenizer_free(cutter->tokenizer);
    cr_model_free(cutter->model);
    free(cutter->base);
    free(cutter);
}

const struct cr_dataset *cr_cutter_data(const struct cr_cutter *cutter)
{
    return cutter->data;
}

size_t cr_cutter_row_size(const struct cr_cutter *cutter)
{
    return cr_cut_row_size(cutter->activations, cutter->model->config.hidden);
}

enum cr_status cr_cutter_digest(const struct cr_cutter *cutter, struct cr_base_digest *front,
                                unsigned char data[CR_SHA256_SIZE])
{
    CR_CLEANUP(cr_hasher_release) struct cr_hasher *hasher = NULL;
    CR_TRY(cr_hasher_new(&hasher));
    CR_TRY(cr_digest_examples(cutter->data, hasher));
    CR_TRY(cr_base_digest_front(cutter->model, cutter->base, cutter->in_8bit, cutter->layers, front));
    return cr_hasher_finish(hasher, data);
}

enum cr_status cr_cutter_walk(struct cr_cutter *cutter, size_t first, struct cr_buffer *activations,
                              size_t *end)
{
    struct cr_batch *batch = cutter->batch;
    size_t next = first, row_size = cr_cutter_row_size(cutter);
    cr_batch_clear(batch);
    while (next < cr_dataset_count(cutter->data) && batch->sequences < batch->sequence_capacity &&
           cr_dataset_at(cutter->data, next).count <= batch->row_capacity - batch->rows)
        CR_TRY(cr_batch_add(batch, cr_dataset_at(cutter->data, next++)));
    const struct cr_rows rows = cr_rows_of(batch);
    CR_TRY(cr_pass_forward(cutter->pass, NULL, &rows, 0, cutter->layers));
    CR_FREE unsigned char *coded = NULL;
    CR_TRY(cr_allocate(rows.rows, row_size, &coded));
    const struct cr_matrix stream = cr_matrix_rows(cr_pass_stream(cutter->pass), 0, rows.rows);
    enum cr_status status = cr_cut_encode(cutter->compute, cutter->activations, stream, coded);
    if (status != CR_OK)
        return cr_fail_within(status, "layers below split.layers, of examples %zu to %zu", first + 1, next);
    CR_TRY(cr_append(activations, coded, rows.rows * row_size));
    *end = next;
    return CR_OK;
}
