#include "tuning/tail.h"

#include "crypto/random.h"
#include "model/generate.h"
#include "model/pass.h"
#include "tensor/ops.h"
#include "tuning/adapter.h"
#include "tuning/cut.h"
#include "tuning/write.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct cr_tail {
    struct cr_compute *compute;
    int activations;
    size_t first, rows; // its first layer; the most rows of a text
    struct cr_model *model;
    struct cr_structure *tuned;
    struct cr_decoder *decoder;
    struct cr_pass *pass;
    float *stream;      // [rows, d]
    uint32_t *position; // [rows] 0, 1, ...
    int32_t *labels;    // [rows]
    bool *right;        // [rows]
};

struct cr_tail_text {
    struct cr_past *past;
    struct cr_draws *draws;
    double temperature;
};

enum cr_status cr_tail_open_model(const struct cr_tuning_config *config, struct cr_compute *compute,
                                  enum cr_dtype act, struct cr_model **out)
{
    const struct cr_model_part part = cr_model_tail(config->split.layers);
    enum cr_model_form form = cr_model_form_of(cr_tuning_config_in_8bit(config));
    if (cr_tuning_config_sliced(config)) form = CR_MODEL_OUTSIDE;
    return cr_model_open(config->model_name_or_path, form, &part, compute, act, out);
}

static enum cr_status build(struct cr_tail *tail, const struct cr_tuning_config *config,
                            const char *directory)
{
    const struct cr_model_part part = cr_model_tail(tail->first);
    enum cr_dtype act = cr_activation_type(tail->compute, config->dtype, NULL);
    CR_TRY(cr_model_open(config->model_name_or_path, cr_model_form_of(cr_tuning_config_in_8bit(config)),
                         &part, tail->compute, act, &tail->model));
    CR_TRY(cr_tuning_config_check_split(config, tail->model->config.layers));
    CR_TRY(cr_adapter_open(directory, tail->model, &tail->tuned));
    const struct cr_pass_size size = {.rows = tail->rows, .sequences = 1, .first = tail->first};
    CR_TRY(cr_decoder_new(tail->model, &tail->tuned->tuned, tail->rows, 1, &tail->decoder));
    CR_TRY(cr_pass_new(tail->model, &size, NULL, &tail->pass));
    CR_TRY(cr_allocate(tail->rows * tail->model->config.hidden, sizeof *tail->stream, &tail->stream));
    CR_TRY(cr_allocate(tail->rows, sizeof *tail->position, &tail->position));
    CR_TRY(cr_allocate(tail->rows, sizeof *tail->labels, &tail->labels));
    CR_TRY(cr_allocate(tail->rows, sizeof *tail->right, &tail->right));
    for (size_t i = 0; i < tail->rows; i++) tail->position[i] = (uint32_t)i;
    return CR_OK;
}

enum cr_status cr_tail_open(const struct cr_tuning_config *config, const char *directory,
                            struct cr_compute *compute, struct cr_tail **out)
{
    struct cr_tail *tail;
    CR_TRY(cr_allocate(1, sizeof *tail, &tail));
    tail->compute = compute;
    tail->activations = config->split.activations;
    tail->first = config->split.layers;
    tail->rows = config->data.max_length;
    enum cr_status status = build(tail, config, directory);
    if (status == CR_OK)
        *out = tail;
    else
        cr_tail_free(tail);
    return status;
}

void cr_tail_free(struct cr_tail *tail)
{
    if (!tail) return;
    if (tail->stream) cr_wipe(tail->stream, tail->rows * tail->model->config.hidden * sizeof *tail->stream);
    if (tail->labels) cr_wipe(tail->labels, tail->rows * sizeof *tail->labels);
    free(tail->stream);
    free(tail->position);
    free(tail->labels);
    free(tail->right);
    cr_decoder_free(tail->decoder);
    cr_pass_free(tail->pass);
    cr_structure_free(tail->tuned);
    cr_model_free(tail->model);
    free(tail);
}

const struct cr_parameters *cr_tail_parameters(const struct cr_tail *tail)
{
    return &tail->tuned->parameters;
}

enum cr_status cr_tail_text_new(const struct cr_tail *tail, double temperature, uint64_t seed,
                                struct cr_tail_text **out)
{
    struct cr_tail_text *text;
    CR_TRY(cr_allocate(1, sizeof *text, &text));
    text->temperature = temperature;
    enum cr_status status = cr_past_new(tail->decoder, &text->past);
    if (status == CR_OK) status = cr_draws_new(seed, CR_GENERATE_STREAM, &text->draws);
    if (status == CR_OK)
        *out = text;
    else
        cr_tail_text_free(text);
    return status;
}

void cr_tail_text_free(struct cr_tail_text *text)
{
    if (!text) return;
    cr_past_free(text->past);
    cr_draws_free(text->draws);
    free(text);
}

static enum cr_status decode(struct cr_tail *tail, const unsigned char *activations, size_t rows,
                             struct cr_matrix *stream)
{
    if (rows == 0 || rows > tail->rows)
        return cr_fail(CR_INVALID, "%zu tokens, of which a text has 1 to %zu (data.max_length)", rows,
                       tail->rows);
    *stream = cr_matrix_of(tail->stream, CR_F32, rows, tail->model->config.hidden);
    return cr_cut_decode(tail->compute, tail->activations, activations, *stream);
}

enum cr_status cr_tail_next(struct cr_tail *tail, struct cr_tail_text *text, const unsigned char *activations,
                            size_t rows, uint32_t *token)
{
    struct cr_matrix stream;
    const float *logits;
    CR_TRY(decode(tail, activations, rows, &stream));
    cr_decoder_swap(tail->decoder, &text->past);
    enum cr_status status = cr_decoder_tail(tail->decoder, stream, &logits);
    cr_decoder_swap(tail->decoder, &text->past);
    if (status == CR_OK)
        *token = cr_choose_token(logits, tail->model->config.vocabulary, text->temperature,
                                 cr_draws_uniform(text->draws));
    return status;
}

// Counts the right labels of one example.
static void count_right(const struct cr_tail *tail, size_t rows, struct cr_tail_score *score)
{
    bool all = true;
    for (size_t i = 0; i < rows; i++) {
        all = all && tail->right[i];
        score->correct += tail->labels[i] != CR_UNLABELLED && tail->right[i];
    }
    score->exact += all;
}

enum cr_status cr_tail_score(struct cr_tail *tail, const unsigned char *example, size_t rows,
                             struct cr_tail_score *score)
{
    struct cr_matrix stream;
    CR_TRY(decode(tail, example, rows, &stream));
    memcpy(tail->labels, example + rows * cr_cut_row_size(tail->activations, stream.columns),
           rows * sizeof *tail->labels);
    const size_t offset[2] = {0, rows};
    const struct cr_rows batch = {
        .sequences = 1, .rows = rows, .offset = offset, .position = tail->position, .labels = tail->labels};
    const struct cr_tuned *tuned = &tail->tuned->tuned;
    double loss = 0;
    cr_copy_matrix(tail->compute, stream, cr_matrix_rows(cr_pass_stream(tail->pass), 0, rows));
    CR_TRY(cr_pass_forward(tail->pass, tuned, &batch, tail->first, tail->model->config.layers));
    CR_TRY(cr_pass_loss(tail->pass, tuned, &batch, 0, &loss, tail->right));
    if (!isfinite(loss)) return cr_model_fail_nonfinite(tail->model, "the loss", "");
    if (score->place == 0) {
        score->right = score->lowest = loss;
        score->loss_sum += loss;
        count_right(tail, rows, score);
    }
    score->lowest = fmin(score->lowest, loss);
    score->place = (score->place + 1) % score->choices;
    if (score->place == 0 && score->choices > 1) score->chosen += score->right <= score->lowest;
    return CR_OK;
}
