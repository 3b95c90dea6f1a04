#include "federation/split_ask.h"

#include "attestation/sealing_key.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/secret.h"
#include "federation/client_parts.h"
#include "federation/cut_frames.h"
#include "federation/split_client.h"
#include "model/pass.h"
#include "tuning/asked.h"
#include "tuning/cut.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const double step_seconds = 0.2, farewell_seconds = 3;

struct cr_split_ask {
    struct cr_asked asked; // must be the first member: the session holds a pointer to it
    struct cr_client client;
    struct cr_client_options options;
    struct cr_sealing_key *key;
    struct cr_compute *compute;
    struct cr_base_digest front;
    size_t activation_size, vocabulary;

    bool joined;   // the job has come
    bool asking;   // waiting for an answer
    bool answered; // `answer` has come
    struct cr_message answer;
    uint64_t question, examples; // of this Ask: the next question's number, count of examples (0: a text)
    uint64_t labelled;           // rows with a label in what was asked of it
    struct cr_buffer rows;       // the question's coded activations
    struct cr_buffer labels;     // and its int32 labels
};

static struct cr_split_ask *of(struct cr_asked *asked)
{
    return (struct cr_split_ask *)asked;
}

static enum cr_status on_opened(void *context, struct cr_connection *connection)
{
    (void)connection;
    return cr_client_say_hello(&((struct cr_split_ask *)context)->client);
}

static enum cr_status on_received(void *context, struct cr_connection *connection,
                                  const struct cr_message *message)
{
    (void)connection;
    struct cr_split_ask *ask = context;
    switch (message->type) {
    case CR_FRAME_MANIFEST:
        return cr_client_on_manifest(&ask->client, message);
    case CR_FRAME_JOB:
        if (!ask->client.manifest_came) break;
        ask->joined = true;
        return CR_OK;
    case CR_FRAME_HELD:
    case CR_FRAME_NEXT:
    case CR_FRAME_SCORE:
        if (!ask->asking || ask->answered) break;
        ask->answer = *message;
        ask->answered = true;
        return CR_OK;
    default:
        break;
    }
    return cr_fail(CR_PROTOCOL, "the server says %s to nothing that was asked", cr_frame_name(message->type));
}

static void on_closed(void *context, struct cr_connection *connection, enum cr_status status, const char *why)
{
    struct cr_client *client = &((struct cr_split_ask *)context)->client;
    client->connection = NULL;
    client->ended = true;
    client->status = status == CR_OK ? CR_IO : status;
    snprintf(client->why, sizeof client->why, "%s", status == CR_OK ? "the server closed" : why);
    cr_connection_free(connection);
}

static const struct cr_connection_handler handler = {on_opened, on_received, on_closed};

static enum cr_status wait_for(struct cr_split_ask *ask, const bool *there)
{
    struct cr_client *client = &ask->client;
    while (!*there && !client->ended) CR_TRY(cr_loop_step(client->loop, step_seconds));
    return *there ? CR_OK : cr_fail(client->status, "%s", client->why);
}

static enum cr_status wait_for_answer(struct cr_split_ask *ask)
{
    enum cr_status status = wait_for(ask, &ask->answered);
    ask->asking = ask->answered = false;
    return status;
}

static enum cr_status fail_answer(const struct cr_split_ask *ask)
{
    return cr_fail(CR_PROTOCOL, "the server's %s is no answer to what was asked",
                   cr_frame_name(ask->answer.type));
}

static enum cr_status check_held(const struct cr_split_ask *ask)
{
    const struct cr_message *answer = &ask->answer;
    return answer->type == CR_FRAME_HELD && answer->held.examples == ask->question ? CR_OK : fail_answer(ask);
}

// Nothing of a text is sent before the server has said that it will answer.
static enum cr_status begin(struct cr_split_ask *ask, const struct cr_message *message)
{
    struct cr_message begun = *message;
    begun.type = CR_FRAME_ASK;
    memcpy(begun.ask.front, ask->front.model, CR_SHA256_SIZE);
    ask->question = 0;
    ask->examples = message->ask.examples;
    ask->labelled = 0;
    ask->asking = true;
    if (!ask->client.ended) CR_TRY(cr_client_say(&ask->client, &begun));
    CR_TRY(wait_for_answer(ask));
    return check_held(ask);
}

static enum cr_status begin_text(struct cr_asked *asked, double temperature, uint64_t seed)
{
    return begin(of(asked), &(struct cr_message){.ask = {.temperature = temperature, .seed = seed}});
}

static enum cr_status begin_examples(struct cr_asked *asked, size_t examples, size_t choices)
{
    return begin(of(asked), &(struct cr_message){.ask = {.examples = examples, .choices = choices}});
}

static enum cr_status put(struct cr_asked *asked, struct cr_matrix stream, const int32_t *labels)
{
    struct cr_split_ask *ask = of(asked);
    unsigned char *coded;
    CR_TRY(cr_allocate(stream.rows, ask->activation_size, &coded));
    enum cr_status status =
        cr_cut_encode(ask->compute, ask->client.config.tuning.split.activations, stream, coded);
    if (status == CR_OK) status = cr_append(&ask->rows, coded, stream.rows * ask->activation_size);
    cr_wipe(coded, stream.rows * ask->activation_size);
    free(coded);
    CR_TRY(status);
    for (size_t i = 0; labels && i < stream.rows; i++) ask->labelled += labels[i] != CR_UNLABELLED;
    return labels ? cr_append(&ask->labels, labels, stream.rows * sizeof *labels) : CR_OK;
}

// Sends the collected rows as the next question.
static enum cr_status send_question(struct cr_split_ask *ask)
{
    const int32_t *labels = ask->examples > 0 ? (const int32_t *)(const void *)ask->labels.data : NULL;
    size_t row_size = ask->activation_size + (labels ? sizeof *labels : 0);
    size_t rows = ask->rows.size / ask->activation_size, most = cr_cut_frame_rows(row_size);
    struct cr_cut_bodies *bodies;
    enum cr_status status = CR_OK;
    CR_TRY(cr_cut_bodies_new(rows * row_size, &bodies));
    cr_cut_pack(ask->rows.data, ask->activation_size, labels, rows, bodies->bytes);
    cr_buffer_clear(&ask->rows);
    cr_buffer_clear(&ask->labels);
    for (size_t row = 0; row < rows && !ask->client.ended && status == CR_OK; row += most) {
        const struct cr_message header = {.type = CR_FRAME_CUT,
                                          .cut = {.example = ask->question, .first = row, .rows = rows}};
        status = cr_cut_bodies_send(bodies, row * row_size, cr_least(most, rows - row) * row_size, &header,
                                    ask->client.connection);
    }
    cr_cut_bodies_release(bodies);
    return status;
}

static enum cr_status pose(struct cr_split_ask *ask)
{
    ask->asking = true;
    CR_TRY(send_question(ask));
    ask->question++;
    return wait_for_answer(ask);
}

static enum cr_status next(struct cr_asked *asked, uint32_t *token)
{
    struct cr_split_ask *ask = of(asked);
    CR_TRY(pose(ask));
    if (ask->answer.type != CR_FRAME_NEXT || ask->answer.next.token >= ask->vocabulary)
        return fail_answer(ask);
    *token = ask->answer.next.token;
    return CR_OK;
}

// Whether no more is right than was asked.
static bool is_possible(const struct cr_split_ask *ask, const struct cr_message *score)
{
    return score->score.loss_sum >= 0 && score->score.correct <= ask->labelled &&
           score->score.exact <= ask->examples && score->score.chosen <= ask->examples;
}

static enum cr_status example(struct cr_asked *asked, struct cr_tally *tally)
{
    struct cr_split_ask *ask = of(asked);
    CR_TRY(pose(ask));
    const struct cr_message *answer = &ask->answer;
    if (ask->question < ask->examples) return check_held(ask);
    if (answer->type != CR_FRAME_SCORE || !is_possible(ask, answer)) return fail_answer(ask);
    tally->loss_sum += answer->score.loss_sum;
    tally->correct += answer->score.correct;
    tally->exact += answer->score.exact;
    tally->chosen += answer->score.chosen;
    return CR_OK;
}

// Opens the sealing key, from the same source as that with which the directory's key was sealed.
static enum cr_status open_key(struct cr_split_ask *ask, const char *state)
{
    struct cr_seal_header header;
    CR_FREE char *path = NULL;
    CR_TRY(cr_path_join(state, "key.sealed", &path));
    CR_TRY(cr_seal_describe(path, &header));
    return cr_sealing_key_here(header.source, NULL, state, &ask->key);
}

static enum cr_status open_state(struct cr_split_ask *ask, const char *state)
{
    struct cr_client *client = &ask->client;
    CR_TRY(cr_client_state_token(state, &client->token));
    CR_TRY(open_key(ask, state));
    CR_TRY(cr_client_state_open(state, &client->token, ask->key, &client->state));
    if (!client->state->enrolled || !client->state->has_manifest)
        return cr_fail(CR_INVALID,
                       "%s: has not joined a federation yet, or its certificate has run out (carrel join)",
                       state);
    return cr_config_parse_job(client->state->manifest.settings, &client->config);
}

static enum cr_status check_job(struct cr_split_ask *ask)
{
    const struct cr_tuning_config *tuning = &ask->client.config.tuning;
    if (!cr_tuning_config_split(tuning))
        return cr_fail(CR_INVALID, "%s: is of a job whose model is not split", ask->client.state->path);
    if (!tuning->split.inference)
        return cr_fail(CR_DENIED, "nobody may ask the tuned model: the job has no split.inference");
    return CR_OK;
}

static enum cr_status open_front(struct cr_split_ask *ask, const struct cr_event_sink *sink,
                                 struct cr_session *session)
{
    struct cr_tuning_config *tuning = &ask->client.config.tuning;
    const char *model = ask->options.model;
    CR_CLEANUP(cr_session_release) struct cr_session own = {0};
    ask->asked = (struct cr_asked){.context = tuning->data.max_length,
                                   .begin_text = begin_text,
                                   .begin_examples = begin_examples,
                                   .put = put,
                                   .next = next,
                                   .example = example};
    CR_TRY(cr_replace_string(model, &tuning->model_name_or_path));
    CR_TRY(cr_session_open_front(model, tuning, ask->compute, sink, &ask->asked, &own));
    CR_TRY(cr_base_digest_front(own.model, model, cr_tuning_config_in_8bit(tuning), tuning->split.layers,
                                &ask->front));
    CR_TRY(cr_client_check_tokenizer(&ask->client.state->manifest, model, &ask->front));
    ask->activation_size = cr_cut_row_size(tuning->split.activations, own.model->config.hidden);
    ask->vocabulary = own.model->config.vocabulary;
    CR_TRY(cr_cut_check_row(ask->activation_size));
    *session = own;
    own = (struct cr_session){0};
    return CR_OK;
}

static enum cr_status connect_server(struct cr_split_ask *ask)
{
    struct cr_client *client = &ask->client;
    client->timeout = client->config.federation.progress_timeout;
    cr_split_client_warn(client);
    CR_TRY(cr_loop_new(&client->loop));
    CR_TRY(cr_client_prepare(client));
    CR_TRY(cr_connection_open(client->loop, client->tls, client->token.address, client->timeout, &handler,
                              ask, &client->connection));
    return wait_for(ask, &ask->joined);
}

enum cr_status cr_split_ask_open(const struct cr_split_ask_options *options, struct cr_compute *compute,
                                 const struct cr_event_sink *sink, struct cr_session *session,
                                 struct cr_split_ask **out)
{
    struct cr_split_ask *ask;
    CR_CLEANUP(cr_session_release) struct cr_session own = {0};
    CR_TRY(cr_allocate(1, sizeof *ask, &ask));
    ask->compute = compute;
    ask->options.model = options->model;
    ask->options.endorsements = options->endorsements;
    ask->client.options = &ask->options;
    ask->client.sink = sink;
    enum cr_status status = open_state(ask, options->state);
    ask->client.has_config = status == CR_OK;
    if (status == CR_OK) status = check_job(ask);
    if (status == CR_OK) status = open_front(ask, sink, &own);
    if (status == CR_OK) status = connect_server(ask);
    if (status != CR_OK) {
        cr_split_ask_close(ask);
        return status;
    }
    *session = own;
    own = (struct cr_session){0};
    *out = ask;
    return CR_OK;
}

void cr_split_ask_close(struct cr_split_ask *ask)
{
    if (!ask) return;
    struct cr_client *client = &ask->client;
    double since = cr_clock_monotonic();
    if (client->connection) cr_connection_close(client->connection);
    while (client->connection && cr_clock_monotonic() - since < farewell_seconds)
        if (cr_loop_step(client->loop, step_seconds) != CR_OK) break;
    cr_connection_free(client->connection);
    cr_tls_free(client->tls);
    cr_attested_close(client->attested);
    cr_loop_free(client->loop);
    cr_client_state_close(client->state);
    if (client->has_config) cr_config_release(&client->config);
    cr_token_release(&client->token);
    cr_secret_free(&ask->key);
    cr_buffer_wipe(&ask->rows);
    cr_buffer_wipe(&ask->labels);
    free(ask);
}
