#include "tuning/write.h"

#include "crypto/random.h"
#include "model/generate.h"
#include "tuning/asked.h"
#include "tuning/end_tokens.h"

#include <stdlib.h>

// Texts that are generated together: one step for all of them reads the weights once. More would save little
// and take more memory.
enum { TOGETHER = 32 };

// Answers that are generated before any of them is scored, in the order of their rows.
enum { GATHERED = 256 };

struct text {
    struct cr_ids *ids; // the prompt, then what was generated
    size_t most;        // tokens still to generate
    size_t fed;         // how many of `ids` the decoder has had
    bool ended;
};

struct writing {
    const struct cr_session *session;
    const struct cr_writer *writer;
    struct cr_decoder *decoder;
    struct cr_draws *draws;
    size_t places;               // texts of the decoder
    struct text *text[TOGETHER]; // [places]; NULL: the place is free
};

static enum cr_status choose(struct writing *writing, size_t place, const float *logits)
{
    const struct cr_session *session = writing->session;
    const struct cr_writer *writer = writing->writer;
    struct text *text = writing->text[place];
    uint32_t next = cr_choose_token(logits, session->model->config.vocabulary, writer->temperature,
                                    cr_draws_uniform(writing->draws));
    text->fed = text->ids->count;
    text->most--;
    text->ended = cr_end_tokens_hold(&session->ends, next);
    if (text->ended || text->most == 0) writing->text[place] = NULL;
    if (text->ended) return CR_OK;
    CR_TRY(cr_ids_append(text->ids, next));
    return writer->wrote ? writer->wrote(writer->context) : CR_OK;
}

// Generates one token for each text that has a place; *any: there was such a text.
static enum cr_status step(struct writing *writing, bool *any)
{
    struct cr_feed feeds[TOGETHER];
    size_t count = 0;
    const float *logits;
    for (size_t place = 0; place < writing->places; place++) {
        const struct text *text = writing->text[place];
        if (text)
            feeds[count++] =
                (struct cr_feed){place, text->ids->items + text->fed, text->ids->count - text->fed};
    }
    *any = count > 0;
    if (count == 0) return CR_OK;
    CR_TRY(cr_decoder_feed(writing->decoder, feeds, count, &logits));
    for (size_t i = 0; i < count; i++)
        CR_TRY(choose(writing, feeds[i].text, logits + i * writing->session->model->config.vocabulary));
    return CR_OK;
}

// Generates all texts; when one ends, the next takes its place.
static enum cr_status write_with(struct writing *writing, struct text *texts, size_t count)
{
    bool any = true;
    for (size_t next = 0; any;) {
        for (size_t place = 0; place < writing->places; place++)
            while (!writing->text[place] && next < count) {
                struct text *text = &texts[next++];
                if (text->most == 0) continue;
                cr_decoder_clear(writing->decoder, place);
                writing->text[place] = text;
            }
        CR_TRY(step(writing, &any));
    }
    return CR_OK;
}

// How many texts of that length may be generated together: their keys, values and logits take at most 256
// MiB, or an eighth of what the weights take, unless one alone takes more.
static size_t places_for(const struct cr_session *session, size_t length, size_t count)
{
    const struct cr_model *model = session->model;
    size_t weights = cr_model_value_count(model) * (model->in_8bit ? 1 : cr_dtype_size(model->act));
    size_t most = cr_most((size_t)256 << 20, weights / 8);
    size_t places = most / cr_decoder_memory(model, cr_session_tuned(session), length);
    return cr_least(cr_least(count, TOGETHER), cr_most(places, 1));
}

static enum cr_status write_here(const struct cr_session *session, const struct cr_writer *writer,
                                 struct text *texts, size_t count)
{
    size_t longest = 0;
    for (size_t i = 0; i < count; i++) longest = cr_most(longest, texts[i].ids->count + texts[i].most);
    struct writing writing = {
        .session = session, .writer = writer, .places = places_for(session, longest, count)};
    enum cr_status status = cr_draws_new(writer->seed, CR_GENERATE_STREAM, &writing.draws);
    if (status == CR_OK)
        status = cr_decoder_new(session->model, cr_session_tuned(session), longest, writing.places,
                                &writing.decoder);
    if (status == CR_OK) status = write_with(&writing, texts, count);
    cr_decoder_free(writing.decoder);
    cr_draws_free(writing.draws);
    return status;
}

enum cr_status cr_session_write(const struct cr_session *session, const struct cr_writer *writer,
                                struct cr_ids *ids, bool *ended)
{
    if (session->asked) return cr_asked_write(session, writer, ids, ended);
    struct text text = {.ids = ids, .most = writer->most};
    enum cr_status status = write_here(session, writer, &text, 1);
    *ended = text.ended;
    return status;
}

static enum cr_status decode(const struct cr_session *session, const uint32_t *ids, size_t count,
                             struct cr_buffer *text)
{
    cr_buffer_clear(text);
    return cr_tokenizer_decode(session->tokenizer, ids, count, true, text);
}

// A stretch of an example's labels, [count], and the model's answer there.
struct answer {
    const int32_t *labels;
    size_t count, prompt;
    struct cr_ids ids; // the prompt, then the answer
};

struct answering {
    const struct cr_session *session;
    size_t most;
    struct text texts[GATHERED];
    struct answer answers[GATHERED];
    size_t count; // of both
    struct cr_ids reference_ids;
    struct cr_buffer answer, reference;
    struct cr_score *score;
};

static enum cr_status write_all(struct answering *with)
{
    if (!with->session->asked)
        return write_here(with->session, &(struct cr_writer){0}, with->texts, with->count);
    for (size_t i = 0; i < with->count; i++) {
        struct text *text = &with->texts[i];
        const struct cr_writer writer = {.most = text->most};
        CR_TRY(cr_asked_write(with->session, &writer, text->ids, &text->ended));
    }
    return CR_OK;
}

static enum cr_status add_score(struct answering *with, const struct answer *answer)
{
    struct cr_ids *ids = &with->reference_ids;
    CR_TRY(decode(with->session, answer->ids.items + answer->prompt, answer->ids.count - answer->prompt,
                  &with->answer));
    ids->count = 0;
    for (size_t i = 0; i < answer->count; i++) CR_TRY(cr_ids_append(ids, (uint32_t)answer->labels[i]));
    CR_TRY(decode(with->session, ids->items, ids->count, &with->reference));
    return cr_score_add(with->score, cr_buffer_slice(&with->answer), cr_buffer_slice(&with->reference));
}

static enum cr_status answer_all(struct answering *with)
{
    if (with->count == 0) return CR_OK;
    CR_TRY(write_all(with));
    for (size_t i = 0; i < with->count; i++) CR_TRY(add_score(with, &with->answers[i]));
    with->count = 0;
    return CR_OK;
}

// Asks for the labels [first, last) of an example. labels[i] is the token after place i.
static enum cr_status ask(struct answering *with, struct cr_example example, size_t first, size_t last)
{
    if (with->count == GATHERED) CR_TRY(answer_all(with));
    struct answer *answer = &with->answers[with->count];
    answer->labels = example.labels + first;
    answer->count = last - first;
    answer->prompt = first + 1;
    answer->ids.count = 0;
    for (size_t i = 0; i < answer->prompt; i++) CR_TRY(cr_ids_append(&answer->ids, example.tokens[i]));
    with->texts[with->count++] =
        (struct text){.ids = &answer->ids,
                      .most = cr_least(with->most, cr_session_context(with->session) - answer->prompt)};
    return CR_OK;
}

static enum cr_status ask_example(struct answering *with, struct cr_example example)
{
    for (size_t i = 0; i < example.count; i++) {
        if (example.labels[i] == CR_LABEL_IGNORE) continue;
        if (i == 0)
            return cr_fail(CR_INVALID,
                           "example %zu is labelled from its beginning: there is nothing to answer",
                           example.number + 1);
        size_t first = i;
        while (i < example.count && example.labels[i] != CR_LABEL_IGNORE) i++;
        CR_TRY(ask(with, example, first, i));
    }
    return CR_OK;
}

static void free_answering(struct answering *with)
{
    if (!with) return;
    for (size_t i = 0; i < GATHERED; i++) cr_ids_release(&with->answers[i].ids);
    cr_ids_release(&with->reference_ids);
    cr_buffer_release(&with->answer);
    cr_buffer_release(&with->reference);
    free(with);
}

enum cr_status cr_session_answer(const struct cr_session *session, const char *data_path,
                                 const struct cr_dataset_options *options, size_t most,
                                 struct cr_score *score)
{
    struct cr_dataset *data;
    struct answering *with = NULL;
    CR_TRY(cr_dataset_open(data_path, session->tokenizer, options, &data));
    enum cr_status status = cr_allocate(1, sizeof *with, &with);
    if (status == CR_OK) {
        with->session = session;
        with->most = most;
        with->score = score;
    }
    for (size_t i = 0; i < cr_dataset_count(data) && status == CR_OK; i++) {
        struct cr_example example = cr_dataset_at(data, i);
        if (example.right) status = ask_example(with, example);
    }
    if (status == CR_OK) status = answer_all(with);
    free_answering(with);
    cr_dataset_free(data);
    return status == CR_OK ? CR_OK : cr_fail_within(status, "%s", data_path);
}
