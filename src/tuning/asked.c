#include "tuning/asked.h"

#include "model/generate.h"
#include "model/pass.h"
#include "tuning/end_tokens.h"
#include "tuning/evaluate.h"

static enum cr_status put_tokens(struct cr_asked *asked, struct cr_decoder *front, const uint32_t *tokens,
                                 size_t count)
{
    for (size_t at = 0, part; at < count; at += part) {
        struct cr_matrix stream;
        part = cr_least(count - at, CR_DECODER_ROWS);
        CR_TRY(cr_decoder_front(front, tokens + at, part, &stream));
        CR_TRY(asked->put(asked, stream, NULL));
    }
    return CR_OK;
}

static enum cr_status write_with(const struct cr_session *session, const struct cr_writer *writer,
                                 struct cr_decoder *front, struct cr_ids *ids, bool *ended)
{
    struct cr_asked *asked = session->asked;
    size_t fed = 0;
    *ended = false;
    CR_TRY(asked->begin_text(asked, writer->temperature, writer->seed));
    for (size_t made = 0; made < writer->most; made++) {
        uint32_t next;
        CR_TRY(put_tokens(asked, front, ids->items + fed, ids->count - fed));
        fed = ids->count;
        CR_TRY(asked->next(asked, &next));
        *ended = cr_end_tokens_hold(&session->ends, next);
        if (*ended) return CR_OK;
        CR_TRY(cr_ids_append(ids, next));
        if (writer->wrote) CR_TRY(writer->wrote(writer->context));
    }
    return CR_OK;
}

enum cr_status cr_asked_write(const struct cr_session *session, const struct cr_writer *writer,
                              struct cr_ids *ids, bool *ended)
{
    struct cr_decoder *front;
    CR_TRY(cr_decoder_new(session->model, NULL, ids->count + writer->most, 1, &front));
    enum cr_status status = write_with(session, writer, front, ids, ended);
    cr_decoder_free(front);
    return status;
}

struct evaluation {
    const struct cr_session *session;
    struct cr_pass *pass;
    struct cr_batch *batch;
    struct cr_tally *tally;
};

static enum cr_status put_example(const struct evaluation *evaluation, struct cr_example example)
{
    struct cr_asked *asked = evaluation->session->asked;
    struct cr_batch *batch = evaluation->batch;
    cr_batch_clear(batch);
    CR_TRY(cr_batch_add(batch, example));
    const struct cr_rows rows = cr_rows_of(batch);
    CR_TRY(cr_pass_forward(evaluation->pass, NULL, &rows, 0, evaluation->session->model->part.last));
    CR_TRY(asked->put(asked, cr_matrix_rows(cr_pass_stream(evaluation->pass), 0, rows.rows), batch->labels));
    CR_TRY(asked->example(asked, evaluation->tally));
    evaluation->tally->tokens += rows.rows;
    if (!example.right) return CR_OK;
    evaluation->tally->examples++;
    evaluation->tally->labelled += batch->labelled;
    return CR_OK;
}

// Sends the choices of one row, the right one first.
static enum cr_status put_row(const struct evaluation *evaluation, const struct cr_dataset *data,
                              size_t example)
{
    for (int wrong = 0; wrong < 2; wrong++)
        for (size_t k = 0; k < cr_dataset_choices(data); k++) {
            struct cr_example choice = cr_dataset_at(data, example + k);
            if (choice.right == !wrong) CR_TRY(put_example(evaluation, choice));
        }
    return CR_OK;
}

static enum cr_status evaluate(const struct evaluation *evaluation, const struct cr_dataset *data)
{
    struct cr_asked *asked = evaluation->session->asked;
    size_t count = cr_dataset_count(data), choices = cr_dataset_choices(data);
    CR_TRY(asked->begin_examples(asked, count, choices));
    for (size_t i = 0; i < count; i += choices) CR_TRY(put_row(evaluation, data, i));
    return CR_OK;
}

enum cr_status cr_asked_evaluate(const struct cr_session *session, const struct cr_dataset *data,
                                 struct cr_tally *tally)
{
    size_t rows = 1;
    for (size_t i = 0; i < cr_dataset_count(data); i++) rows = cr_most(rows, cr_dataset_at(data, i).count);
    // If no layer is below the cut, the pass still has room for one, which is not run.
    const struct cr_pass_size size = {
        .rows = rows, .sequences = 1, .last = cr_most(session->model->part.last, 1)};
    struct cr_tally sum = {0};
    struct evaluation evaluation = {.session = session, .tally = &sum};
    enum cr_status status = cr_batch_new(1, rows, &evaluation.batch);
    if (status == CR_OK) status = cr_pass_new(session->model, &size, NULL, &evaluation.pass);
    if (status == CR_OK) status = evaluate(&evaluation, data);
    cr_pass_free(evaluation.pass);
    cr_batch_free(evaluation.batch);
    if (status == CR_OK) cr_tally_add(tally, &sum);
    return status;
}
