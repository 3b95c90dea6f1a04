#include "federation/client.h"

#include "base/clock.h"
#include "base/file.h"
#include "channel/connection.h"
#include "federation/client_state.h"
#include "federation/discretion.h"
#include "federation/worker.h"
#include "tuning/place.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PULLS_AHEAD = 2 };
static const double step_seconds = 0.2, progress_seconds = 1, farewell_seconds = 3;
static const double first_timeout = 60; // until the job says another
static const double least_pause = 0.2, most_pause = 5;

struct client {
    const struct cr_client_options *options;
    const struct cr_learner_kind *kind;
    const struct cr_event_sink *sink; // the worker's, which takes one event at a time
    struct cr_token token;
    struct cr_client_state *state;
    struct cr_loop *loop;
    struct cr_tls *tls;
    struct cr_connection *connection;
    bool open, ready_sent;
    double timeout, alone_since, retry_at, pause;
    char last_why[1024];

    struct cr_buffer job; // as received
    unsigned char run[CR_SHA256_SIZE];
    struct cr_config config;
    bool has_config;
    struct cr_worker *worker;
    char *worker_state; // a path that the task at hand uses
    bool learner_open;
    unsigned char structure[CR_SHA256_SIZE];
    size_t count, total_steps;

    bool begun; // the next two: the round at hand
    uint64_t round;
    unsigned char start[CR_SHA256_SIZE];
    bool training;              // the worker is at it
    bool restart;               // it is at another round, and is to stop
    bool final;                 // all rounds are done, and the result is being fetched as if it were one
    struct cr_vector *incoming; // what the round begins with
    size_t pulled, asked;       // values of it that came, and that were asked for
    double progress_at;
    struct cr_vector *update; // of state->answer; NULL: none

    bool ended;
    enum cr_status status;
    char why[1024];
};

static void end_client(struct client *client, enum cr_status status, const char *why)
{
    if (client->ended) return;
    client->ended = true;
    client->status = status;
    snprintf(client->why, sizeof client->why, "%s", why);
}

static enum cr_status say(struct client *client, const struct cr_message *message)
{
    return cr_connection_send(client->connection, message, NULL, NULL);
}

static enum cr_status send_enrol(struct client *client)
{
    CR_CLEANUP(cr_buffer_release) struct cr_buffer request = {0};
    CR_TRY(cr_identity_request(client->state->identity, &request));
    struct cr_message enrol = {
        .type = CR_FRAME_ENROL,
        .enrol = {.version = CR_PROTOCOL_VERSION, .request = cr_buffer_slice(&request)}};
    memcpy(enrol.enrol.secret, client->token.secret, CR_SECRET_SIZE);
    enum cr_status status = say(client, &enrol);
    cr_wipe(&enrol, sizeof enrol);
    return status;
}

static enum cr_status on_opened(void *context, struct cr_connection *connection)
{
    (void)connection;
    struct client *client = context;
    client->open = true;
    client->pause = least_pause;
    if (!client->state->enrolled) return send_enrol(client);
    cr_emit(client->sink, CR_EVENT_INFO, "client.connected", NULL,
            CR_FIELD_TEXT("address", client->token.address), CR_FIELD_TEXT("silo", client->token.name));
    struct cr_message hello = {.type = CR_FRAME_HELLO, .hello.version = CR_PROTOCOL_VERSION};
    snprintf(hello.hello.program, sizeof hello.hello.program, "carrel %s", CARREL_VERSION);
    return say(client, &hello);
}

static enum cr_status on_enrolled(struct client *client, const struct cr_message *message)
{
    if (client->state->enrolled) return cr_fail(CR_PROTOCOL, "the server enrols who is enrolled");
    unsigned char fingerprint[CR_SHA256_SIZE];
    CR_TRY(cr_sha256(message->enrolled.authority, fingerprint));
    if (memcmp(fingerprint, client->token.fingerprint, CR_SHA256_SIZE) != 0)
        return cr_fail(CR_DENIED, "the server sent another CA than the join token names");
    CR_TRY(cr_client_state_enrol(client->state, message->enrolled.certificate, message->enrolled.authority));
    cr_emit(client->sink, CR_EVENT_INFO, "client.enrolled", NULL, CR_FIELD_TEXT("silo", client->token.name),
            CR_FIELD_TEXT("state", client->state->path));
    cr_connection_close(client->connection); // and back as a member
    return CR_OK;
}

static enum cr_status put_string(char **target, const char *value)
{
    if (!value) return CR_OK;
    char *copy;
    CR_TRY(cr_copy_string(value, &copy));
    free(*target);
    *target = copy;
    return CR_OK;
}

static enum cr_status put_strings(struct cr_string_list *target, const struct cr_flag_list *values)
{
    CR_TRY(cr_allocate(values->count, sizeof *target->items, &target->items)); // a job has none
    for (; target->count < values->count; target->count++)
        CR_TRY(cr_copy_string(values->items[target->count], &target->items[target->count]));
    return CR_OK;
}

// What this silo will do, its own paths among it.
static enum cr_status tell_job(const struct client *client)
{
    CR_CLEANUP(cr_buffer_wipe) struct cr_buffer settings = {0};
    struct cr_config told = client->config;                          // shallow: strings are only read
    if (cr_tuning_config_sliced(&told.tuning)) told.tuning.seed = 0; // the federation's secret
    CR_TRY(cr_options_write(&cr_config_table, &told, &settings));
    cr_emit(client->sink, CR_EVENT_DEBUG, "client.job", NULL,
            CR_FIELD_TEXT("settings", cr_buffer_text(&settings)));
    return CR_OK;
}

// Whom a silo's texts may be shown is for the silo alone to say: never for a job.
static enum cr_status take_own_accelerator(struct client *client)
{
    struct cr_slicing_config *slicing = &client->config.tuning.slicing;
    if (slicing->own_accelerator)
        return cr_fail(CR_PROTOCOL, "the server's job names an accelerator as a silo's own, which only the "
                                    "silo can");
    CR_TRY(put_string(&slicing->own_accelerator, client->options->own_accelerator));
    if (slicing->clear_front == CR_CLEAR_FRONT_LOCAL && !slicing->own_accelerator)
        return cr_fail(CR_INVALID, "the job's slicing.clear_front: local would show this silo's texts to an "
                                   "accelerator: name one that is the silo's own with --own-accelerator "
                                   "unix:PATH, or do not take part");
    return CR_OK;
}

static enum cr_status take_job(struct client *client, const struct cr_message *message)
{
    CR_TRY(cr_append(&client->job, message->body.data, message->body.size));
    memcpy(client->run, message->job.run, CR_SHA256_SIZE);
    CR_TRY(cr_config_parse(message->body, "the server's job", &client->config));
    client->has_config = true;
    CR_TRY(cr_discretion_check(&client->config));
    struct cr_tuning_config *tuning = &client->config.tuning;
    CR_TRY(put_string(&tuning->model_name_or_path, client->options->model));
    CR_TRY(put_string(&tuning->data.train, client->options->data));
    tuning->threads = client->options->threads;
    cr_free(&tuning->data.eval); // a silo trains; a job of ours names none
    if (tuning->slicing.accelerators.count > 0)
        return cr_fail(CR_PROTOCOL, "the server's job names an accelerator, which is each silo's own");
    CR_TRY(put_strings(&tuning->slicing.accelerators, &client->options->accelerators));
    if (cr_tuning_config_sliced(tuning) && tuning->slicing.accelerators.count == 0)
        return cr_fail(CR_INVALID, "the job's slicing.pads asks for an accelerator: give this silo's with "
                                   "--accelerator ADDRESS");
    CR_TRY(take_own_accelerator(client));
    tuning->scratch_dir = client->state->path;
    if (client->options->output)
        CR_TRY(cr_place_check(client->options->output, tuning->model_name_or_path, tuning->method));
    if (!tuning->data.train)
        return cr_fail(CR_INVALID, "the job names no training data: give this silo's with --data FILE");
    cr_config_apply_rounds(&client->config);
    CR_TRY(tell_job(client));
    client->timeout = client->config.federation.progress_timeout;
    bool goes_on = client->state->has_answer && memcmp(client->state->run, client->run, CR_SHA256_SIZE) == 0;
    if (goes_on)
        CR_TRY(cr_client_state_trainer(client->state, client->state->answer.round, &client->worker_state));
    client->state->has_answer = goes_on;
    cr_worker_open(client->worker, &client->config, client->worker_state);
    return CR_OK;
}

static enum cr_status send_ready(struct client *client)
{
    struct cr_message ready = {.type = CR_FRAME_READY, .ready.count = client->count};
    memcpy(ready.ready.structure, client->structure, CR_SHA256_SIZE);
    CR_TRY(say(client, &ready));
    client->ready_sent = true;
    return CR_OK;
}

static enum cr_status on_job(struct client *client, const struct cr_message *message)
{
    cr_connection_set_timeout(client->connection, client->timeout);
    if (!client->has_config) {
        CR_TRY(take_job(client, message));
        cr_connection_set_timeout(client->connection, client->timeout);
        return CR_OK;
    }
    if (memcmp(message->job.run, client->run, CR_SHA256_SIZE) != 0 ||
        !cr_slice_equal(message->body, cr_buffer_slice(&client->job)))
        return cr_fail(CR_PROTOCOL, "the server began another run with other settings (start join again)");
    return client->learner_open ? send_ready(client) : CR_OK;
}

static enum cr_status send_trained(struct client *client)
{
    const struct cr_answer *answer = &client->state->answer;
    struct cr_message trained = {
        .type = CR_FRAME_TRAINED,
        .trained = {.round = answer->round, .labelled = answer->labelled, .loss_sum = answer->loss_sum}};
    memcpy(trained.trained.start, answer->start, CR_SHA256_SIZE);
    memcpy(trained.trained.digest, answer->digest, CR_SHA256_SIZE);
    return say(client, &trained);
}

// Asks for the next pieces of the start values, a few ahead so that the network is never idle.
static enum cr_status pull(struct client *client)
{
    while (client->asked < client->count && client->asked - client->pulled < PULLS_AHEAD * (size_t)CR_CHUNK) {
        size_t left = client->count - client->asked;
        size_t count = left < CR_CHUNK ? left : CR_CHUNK;
        struct cr_message message = {
            .type = CR_FRAME_PULL, .pull = {.round = client->round, .first = client->asked, .count = count}};
        CR_TRY(say(client, &message));
        client->asked += count;
    }
    return CR_OK;
}

static enum cr_status begin_round(struct client *client)
{
    cr_vector_release(client->incoming);
    client->incoming = NULL;
    CR_TRY(cr_vector_new(client->count, &client->incoming));
    client->pulled = client->asked = 0;
    if (client->final) return pull(client);
    cr_emit(client->sink, CR_EVENT_INFO, "client.round", NULL, CR_FIELD("round", client->round + 1),
            CR_FIELD("rounds", client->config.federation.rounds));
    return pull(client);
}

// Makes this the round at hand; one that is being trained is left.
static enum cr_status go_to_round(struct client *client, uint64_t round,
                                  const unsigned char start[CR_SHA256_SIZE])
{
    bool same = client->begun && client->round == round && memcmp(client->start, start, CR_SHA256_SIZE) == 0;
    client->begun = true;
    client->round = round;
    memcpy(client->start, start, CR_SHA256_SIZE);
    if (!client->training) return begin_round(client);
    // Told the same twice, as after a reconnection, it still has to leave what it is at.
    if (same) return CR_OK;
    client->restart = true;
    cr_worker_cancel(client->worker);
    return CR_OK;
}

static enum cr_status on_begin(struct client *client, const struct cr_message *message)
{
    uint64_t round = message->begin.round;
    if (!client->ready_sent || message->begin.count != client->count ||
        round >= client->config.federation.rounds)
        return cr_fail(CR_PROTOCOL, "the server begins a round that is not of this job");
    const struct cr_answer *answer = &client->state->answer;
    if (client->update && answer->round >= round) {
        if (answer->round == round && memcmp(answer->start, message->begin.start, CR_SHA256_SIZE) == 0)
            return send_trained(client);
        return cr_fail(CR_PROTOCOL,
                       "the server went back: it asks for round %llu, and round %llu was trained",
                       (unsigned long long)round + 1, (unsigned long long)answer->round + 1);
    }
    return go_to_round(client, round, message->begin.start);
}

// All values that the round begins with are there: they are trained on, or, after the last round, saved.
static enum cr_status use_values(struct client *client)
{
    unsigned char digest[CR_SHA256_SIZE];
    CR_TRY(cr_vector_digest(client->incoming, digest));
    if (memcmp(digest, client->start, CR_SHA256_SIZE) != 0)
        return cr_fail(CR_PROTOCOL, "the values of round %llu are not those that the server announced",
                       (unsigned long long)client->round + 1);
    client->restart = false;
    client->training = true;
    if (client->final) {
        cr_worker_save(client->worker, client->incoming, client->options->output);
        return CR_OK;
    }
    bool reset = client->config.federation.optimizer_state == CR_OPTIMIZER_STATE_RESET;
    struct cr_training_task task = {.reset_optimizer = reset, .start = client->incoming};
    cr_learner_share(client->total_steps, client->round, client->config.federation.rounds, &task.first,
                     &task.last);
    cr_free(&client->worker_state);
    CR_TRY(cr_client_state_trainer(client->state, client->round, &client->worker_state));
    task.state = client->worker_state;
    client->progress_at = 0; // the first sign of a round comes at once
    cr_worker_train(client->worker, &task);
    return CR_OK;
}

static enum cr_status on_values(struct client *client, const struct cr_message *message)
{
    // What was asked for before a reconnection or another Begin is of no use, and no fault.
    if (!client->incoming || client->training || message->values.round != client->round ||
        message->values.first != client->pulled || client->pulled == client->asked)
        return CR_OK;
    size_t count = message->body.size / sizeof(float);
    size_t left = client->count - client->pulled;
    if (message->body.size % sizeof(float) != 0 || count != (left < CR_CHUNK ? left : CR_CHUNK))
        return cr_fail(CR_PROTOCOL, "the server sent a chunk of %zu bytes that was not asked for",
                       message->body.size);
    memcpy(client->incoming->values + client->pulled, message->body.data, message->body.size);
    client->pulled += count;
    return client->pulled == client->count ? use_values(client) : pull(client);
}

static enum cr_status on_pull(struct client *client, const struct cr_message *message)
{
    if (!client->update || message->pull.round != client->state->answer.round ||
        !cr_vector_has_chunk(client->update, message->pull.first, message->pull.count))
        return cr_fail(CR_PROTOCOL, "the server asks for values of round %llu that are not there",
                       (unsigned long long)message->pull.round + 1);
    struct cr_message values = {
        .type = CR_FRAME_VALUES,
        .values = {.round = message->pull.round, .first = message->pull.first},
        .body = cr_vector_slice(client->update, (size_t)message->pull.first, (size_t)message->pull.count)};
    return cr_connection_send(client->connection, &values, cr_vector_release, cr_vector_hold(client->update));
}

static enum cr_status done(struct client *client)
{
    const char *output = client->options->output;
    cr_emit(client->sink, CR_EVENT_INFO, "client.done", NULL,
            CR_FIELD("rounds", client->config.federation.rounds),
            CR_FIELD_TEXT("output", output ? output : "the server's output_dir"));
    client->status = CR_OK;
    client->ended = true;
    if (client->connection) cr_connection_close(client->connection);
    return CR_OK;
}

static enum cr_status on_finished(struct client *client, const struct cr_message *message)
{
    if (!client->ready_sent || message->finished.rounds != client->config.federation.rounds)
        return cr_fail(CR_PROTOCOL, "the server ends a run that is not of this job");
    if (!client->options->output) return done(client);
    client->final = true;
    return go_to_round(client, message->finished.rounds, message->finished.digest);
}

static enum cr_status on_received(void *context, struct cr_connection *connection,
                                  const struct cr_message *message)
{
    (void)connection;
    struct client *client = context;
    if (client->ended) return CR_OK;
    switch (message->type) {
    case CR_FRAME_ENROLLED:
        return on_enrolled(client, message);
    case CR_FRAME_JOB:
        return on_job(client, message);
    case CR_FRAME_BEGIN:
        return on_begin(client, message);
    case CR_FRAME_PULL:
        return on_pull(client, message);
    case CR_FRAME_VALUES:
        return on_values(client, message);
    case CR_FRAME_CLOSED:
        cr_emit(client->sink, CR_EVENT_INFO, "client.closed", NULL,
                CR_FIELD("round", message->closed.round + 1), CR_FIELD("silos", message->closed.silos),
                CR_FIELD("loss", message->closed.loss));
        return CR_OK;
    case CR_FRAME_FINISHED:
        return on_finished(client, message);
    default:
        return cr_fail(CR_PROTOCOL, "%s is nothing that a server says", cr_frame_name(message->type));
    }
}

// The server may be restarting, or the network be cut: such ends are met by coming back.
static bool worth_retrying(enum cr_status status)
{
    return status == CR_OK || status == CR_IO || status == CR_TIMEOUT;
}

static void lost(struct client *client, enum cr_status status, const char *why)
{
    double now = cr_clock_monotonic();
    if (client->open) client->alone_since = now;
    client->open = client->ready_sent = false;
    client->connection = NULL;
    if (client->ended) return;
    if (!worth_retrying(status)) {
        end_client(client, status, why);
        return;
    }
    snprintf(client->last_why, sizeof client->last_why, "%s", status == CR_OK ? "the server closed" : why);
    if (status != CR_OK)
        cr_emit(client->sink, CR_EVENT_WARNING, "client.waiting", client->last_why,
                CR_FIELD("seconds", client->pause));
    client->retry_at = status == CR_OK ? now : now + client->pause;
    client->pause = client->pause * 2 < most_pause ? client->pause * 2 : most_pause;
}

static void on_closed(void *context, struct cr_connection *connection, enum cr_status status, const char *why)
{
    lost(context, status, why);
    cr_connection_free(connection);
}

static const struct cr_connection_handler handler = {on_opened, on_received, on_closed};

static enum cr_status connect_now(struct client *client)
{
    cr_tls_free(client->tls);
    client->tls = NULL;
    CR_TRY(client->state->enrolled ? cr_tls_new_member(client->state->identity, &client->tls)
                                   : cr_tls_new_enrol(client->token.fingerprint, &client->tls));
    enum cr_status status = cr_connection_open(client->loop, client->tls, client->token.address,
                                               client->timeout, &handler, client, &client->connection);
    if (status != CR_OK) lost(client, status, cr_error_message());
    return CR_OK;
}

static enum cr_status opened_learner(struct client *client, const struct cr_worker_result *result)
{
    client->learner_open = true;
    client->count = result->update->count;
    client->total_steps = result->total_steps;
    memcpy(client->structure, result->structure, CR_SHA256_SIZE);
    if (client->total_steps < client->config.federation.rounds)
        return cr_fail(CR_INVALID, "the data give %zu steps, fewer than the %zu rounds", client->total_steps,
                       client->config.federation.rounds);
    CR_TRY(cr_discretion_check_rounds(&client->config, client->total_steps));
    if (client->state->has_answer) {
        if (memcmp(result->digest, client->state->answer.digest, CR_SHA256_SIZE) != 0)
            return cr_fail(CR_INVALID, "%s: does not hold the update that update.json names",
                           client->worker_state);
        client->update = cr_vector_hold(result->update);
    }
    return client->open && client->state->enrolled ? send_ready(client) : CR_OK;
}

static enum cr_status trained(struct client *client, const struct cr_worker_result *result)
{
    double labelled = (double)result->tally.labelled, loss = 0;
    if (labelled > 0) loss = cr_discretion_loss(&client->config, result->tally.loss_sum / labelled);
    struct cr_answer answer = {
        .round = client->round, .labelled = result->tally.labelled, .loss_sum = loss * labelled};
    memcpy(answer.start, client->start, CR_SHA256_SIZE);
    memcpy(answer.digest, result->digest, CR_SHA256_SIZE);
    CR_TRY(cr_client_state_keep(client->state, client->run, &answer));
    cr_vector_release(client->update);
    client->update = cr_vector_hold(result->update);
    cr_emit(client->sink, CR_EVENT_INFO, "client.trained", NULL, CR_FIELD("round", client->round + 1),
            CR_FIELD("loss", loss), CR_FIELD("labelled", answer.labelled));
    return client->ready_sent ? send_trained(client) : CR_OK;
}

static enum cr_status take_result(struct client *client)
{
    struct cr_worker_result result;
    if (!cr_worker_take(client->worker, &result)) return CR_OK;
    enum cr_status status = CR_OK;
    client->training = false;
    cr_vector_release(client->incoming); // the learner has a copy
    client->incoming = NULL;
    if (client->restart) {
        // Another round has begun meanwhile; what this one made is not wanted.
        client->restart = false;
        if (client->ready_sent) status = begin_round(client);
    } else if (result.status != CR_OK) {
        status = cr_fail(result.status, "%s", result.why);
    } else {
        if (result.work == CR_WORK_OPEN)
            status = opened_learner(client, &result);
        else if (result.work == CR_WORK_TRAIN)
            status = trained(client, &result);
        else
            status = done(client);
    }
    cr_vector_release(result.update);
    return status;
}

static enum cr_status show_progress(struct client *client, double now)
{
    if (!client->training || client->final || !client->ready_sent ||
        now - client->progress_at < progress_seconds)
        return CR_OK;
    client->progress_at = now;
    struct cr_worker_progress progress;
    cr_worker_look(client->worker, &progress);
    struct cr_message message = {.type = CR_FRAME_PROGRESS,
                                 .progress = {.round = client->round,
                                              .step = progress.step,
                                              .steps = progress.steps,
                                              .loss = progress.loss,
                                              .tokens_per_second = progress.tokens_per_second}};
    return say(client, &message);
}

static enum cr_status run(struct client *client, bool (*keep_going)(void *context), void *context)
{
    client->alone_since = cr_clock_monotonic();
    while (!client->ended || client->connection) {
        double now = cr_clock_monotonic();
        if (!client->ended && !client->connection) {
            if (now - client->alone_since > client->timeout)
                return cr_fail(CR_TIMEOUT, "no connection to the server for %.0f seconds: %s",
                               client->timeout, client->last_why);
            if (now >= client->retry_at) CR_TRY(connect_now(client));
        }
        CR_TRY(cr_loop_step(client->loop, step_seconds));
        if (keep_going && !keep_going(context))
            return cr_fail(CR_CANCELLED, "stopped (start again with the same --state to go on)");
        CR_TRY(take_result(client));
        CR_TRY(show_progress(client, now));
    }
    return client->status == CR_OK ? CR_OK : cr_fail(client->status, "%s", client->why);
}

enum cr_status cr_client_state_path(const struct cr_client_options *options, const struct cr_token *token,
                                    char **out)
{
    char name[CR_NAME_SIZE + 16];
    snprintf(name, sizeof name, "carrel-silo-%s", token->name);
    return cr_copy_string(options->state ? options->state : name, out);
}

static enum cr_status open_client(struct client *client)
{
    CR_FREE char *path = NULL;
    CR_TRY(cr_token_parse(client->options->token, &client->token));
    CR_TRY(cr_client_state_path(client->options, &client->token, &path));
    CR_TRY(cr_client_state_open(path, &client->token, &client->state));
    return cr_loop_new(&client->loop);
}

// Tells the server why this silo gives up, and gives it a moment to hear it.
static void say_farewell(struct client *client, enum cr_status status, const char *why)
{
    client->ended = true;
    if (!client->connection) return;
    cr_connection_refuse(client->connection, status, why);
    double since = cr_clock_monotonic();
    while (client->connection && cr_clock_monotonic() - since < farewell_seconds)
        if (cr_loop_step(client->loop, step_seconds) != CR_OK) return;
}

static void close_client(struct client *client)
{
    cr_worker_free(client->worker);
    cr_connection_free(client->connection);
    cr_tls_free(client->tls);
    cr_loop_free(client->loop);
    cr_vector_release(client->incoming);
    cr_vector_release(client->update);
    cr_client_state_close(client->state);
    if (client->has_config) cr_config_release(&client->config);
    cr_buffer_release(&client->job);
    free(client->worker_state);
    cr_token_release(&client->token);
    free(client);
}

enum cr_status cr_client_run(const struct cr_client_options *options, const struct cr_learner_kind *learner,
                             const struct cr_event_sink *sink, bool (*keep_going)(void *context),
                             void *context)
{
    struct client *client;
    CR_TRY(cr_allocate(1, sizeof *client, &client));
    client->options = options;
    client->kind = learner;
    client->timeout = first_timeout;
    client->pause = least_pause;
    enum cr_status status = open_client(client);
    if (status == CR_OK) status = cr_worker_new(learner, sink, client->loop, &client->worker);
    if (status == CR_OK) {
        client->sink = cr_worker_sink(client->worker);
        status = run(client, keep_going, context);
        if (status != CR_OK && status != CR_CANCELLED) {
            char why[1024];
            snprintf(why, sizeof why, "%s", cr_error_message());
            say_farewell(client, status, why);
            status = cr_fail(status, "%s", why);
        }
    }
    close_client(client);
    return status;
}
