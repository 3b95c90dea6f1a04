#include "tuning/write.h"

#include "crypto/random.h"
#include "model/generate.h"
#include "tuning/asked.h"
#include "tuning/end_tokens.h"

static enum cr_status write_with(const struct cr_session *session, const struct cr_writer *writer,
                                 struct cr_decoder *decoder, struct cr_stream *stream, struct cr_ids *ids,
                                 bool *ended)
{
    size_t fed = 0;
    *ended = false;
    for (size_t made = 0; made < writer->most; made++) {
        const float *logits;
        CR_TRY(
            cr_decoder_feed(decoder, &(struct cr_feed){0, ids->items + fed, ids->count - fed}, 1, &logits));
        fed = ids->count;
        uint32_t next = cr_choose_token(logits, session->model->config.vocabulary, writer->temperature,
                                        cr_stream_uniform(stream));
        *ended = cr_end_tokens_hold(&session->ends, next);
        if (*ended) return CR_OK;
        CR_TRY(cr_ids_append(ids, next));
        if (writer->wrote) CR_TRY(writer->wrote(writer->context));
    }
    return CR_OK;
}

enum cr_status cr_session_write(const struct cr_session *session, const struct cr_writer *writer,
                                struct cr_ids *ids, bool *ended)
{
    if (session->asked) return cr_asked_write(session, writer, ids, ended);
    struct cr_decoder *decoder = NULL;
    struct cr_stream *stream = NULL;
    enum cr_status status = cr_stream_new(writer->seed, CR_GENERATE_STREAM, &stream);
    if (status == CR_OK)
        status =
            cr_decoder_new(session->model, cr_session_tuned(session), ids->count + writer->most, 1, &decoder);
    if (status == CR_OK) status = write_with(session, writer, decoder, stream, ids, ended);
    cr_decoder_free(decoder);
    cr_stream_free(stream);
    return status;
}

static enum cr_status decode(const struct cr_session *session, const uint32_t *ids, size_t count,
                             struct cr_buffer *text)
{
    cr_buffer_clear(text);
    return cr_tokenizer_decode(session->tokenizer, ids, count, true, text);
}

struct answering {
    const struct cr_session *session;
    size_t most;
    struct cr_ids ids;
    struct cr_buffer answer, reference;
    struct cr_score *score;
};

// The stretch of labels [first, last) of an example. labels[i] is the token behind place i.
static enum cr_status answer(struct answering *with, struct cr_example example, size_t first, size_t last)
{
    const struct cr_session *session = with->session;
    struct cr_writer writer = {.most = cr_least(with->most, cr_session_context(session) - (first + 1))};
    bool ended;
    with->ids.count = 0;
    for (size_t i = 0; i <= first; i++) CR_TRY(cr_ids_append(&with->ids, example.tokens[i]));
    CR_TRY(cr_session_write(session, &writer, &with->ids, &ended));
    CR_TRY(decode(session, with->ids.items + first + 1, with->ids.count - (first + 1), &with->answer));
    with->ids.count = 0;
    for (size_t i = first; i < last; i++) CR_TRY(cr_ids_append(&with->ids, (uint32_t)example.labels[i]));
    CR_TRY(decode(session, with->ids.items, with->ids.count, &with->reference));
    return cr_score_add(with->score, cr_buffer_slice(&with->answer), cr_buffer_slice(&with->reference));
}

static enum cr_status answer_example(struct answering *with, struct cr_example example)
{
    for (size_t i = 0; i < example.count; i++) {
        if (example.labels[i] == CR_LABEL_IGNORE) continue;
        if (i == 0)
            return cr_fail(CR_INVALID,
                           "example %zu is labelled from its beginning: there is nothing to answer",
                           example.number + 1);
        size_t first = i;
        while (i < example.count && example.labels[i] != CR_LABEL_IGNORE) i++;
        CR_TRY(answer(with, example, first, i));
    }
    return CR_OK;
}

enum cr_status cr_session_answer(const struct cr_session *session, const char *data_path,
                                 const struct cr_dataset_options *options, size_t most,
                                 struct cr_score *score)
{
    struct cr_dataset *data;
    CR_TRY(cr_dataset_open(data_path, session->tokenizer, options, &data));
    struct answering with = {.session = session, .most = most, .score = score};
    enum cr_status status = CR_OK;
    for (size_t i = 0; i < cr_dataset_count(data) && status == CR_OK; i++) {
        struct cr_example example = cr_dataset_at(data, i);
        if (example.right) status = answer_example(&with, example);
    }
    cr_ids_release(&with.ids);
    cr_buffer_release(&with.answer);
    cr_buffer_release(&with.reference);
    cr_dataset_free(data);
    return status == CR_OK ? CR_OK : cr_fail_within(status, "%s", data_path);
}
