#include "federation/client_parts.h"

#include "base/clock.h"
#include "federation/split_client.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const double step_seconds = 0.2, farewell_seconds = 3;
static const double first_timeout = 60; // until the job is known, which has a timeout of its own
static const double least_pause = 0.2, most_pause = 5;

static void end_client(struct cr_client *client, enum cr_status status, const char *why)
{
    if (client->ended) return;
    client->ended = true;
    client->status = status;
    snprintf(client->why, sizeof client->why, "%s", why);
}

void cr_client_gets_on(struct cr_client *client)
{
    client->last_why[0] = 0;
    client->pause = least_pause;
}

enum cr_status cr_client_say(struct cr_client *client, const struct cr_message *message)
{
    return cr_connection_send(client->connection, message, NULL, NULL);
}

enum cr_status cr_client_say_hello(struct cr_client *client)
{
    return cr_client_say(client,
                         &(struct cr_message){.type = CR_FRAME_HELLO, .hello.version = CR_PROTOCOL_VERSION});
}

// A silo that has its certificate but not the job must enrol again: it agrees to the job before it is
// attested.
static bool is_member(const struct cr_client *client)
{
    return client->state->enrolled && client->state->has_manifest;
}

static enum cr_status send_enrol(struct cr_client *client)
{
    CR_CLEANUP(cr_buffer_release) struct cr_buffer request = {0};
    CR_TRY(cr_identity_request(client->state->identity, &request));
    struct cr_message enrol = {
        .type = CR_FRAME_ENROL,
        .enrol = {.version = CR_PROTOCOL_VERSION, .request = cr_buffer_slice(&request)}};
    memcpy(enrol.enrol.secret, client->token.secret, CR_SECRET_SIZE);
    enum cr_status status = cr_client_say(client, &enrol);
    cr_wipe(&enrol, sizeof enrol);
    return status;
}

static enum cr_status on_opened(void *context, struct cr_connection *connection)
{
    (void)connection;
    struct cr_client *client = context;
    client->enrolling = !is_member(client);
    if (client->enrolling) return send_enrol(client);
    cr_emit(client->sink, CR_EVENT_INFO, "client.connected", NULL,
            CR_FIELD_TEXT("address", client->token.address), CR_FIELD_TEXT("silo", client->token.name));
    return cr_client_say_hello(client);
}

static enum cr_status on_enrolled(struct cr_client *client, const struct cr_message *message)
{
    if (!client->enrolling) return cr_fail(CR_PROTOCOL, "the server enrols who is enrolled");
    if (!client->manifest_came) return cr_fail(CR_PROTOCOL, "the server enrols without a signed job");
    unsigned char fingerprint[CR_SHA256_SIZE];
    CR_TRY(cr_sha256(message->enrolled.authority, fingerprint));
    if (memcmp(fingerprint, client->token.fingerprint, CR_SHA256_SIZE) != 0)
        return cr_fail(CR_DENIED, "the server sent another CA than the join token names");
    CR_TRY(cr_client_state_enrol(client->state, message->enrolled.certificate, message->enrolled.authority));
    cr_emit(client->sink, CR_EVENT_INFO, "client.enrolled", NULL, CR_FIELD_TEXT("silo", client->token.name),
            CR_FIELD_TEXT("state", client->state->path));
    cr_connection_close(client->connection); // to come back as a member
    return CR_OK;
}

static enum cr_status refuse(const struct cr_message *message)
{
    return cr_fail(CR_PROTOCOL, "%s is nothing that a server says", cr_frame_name(message->type));
}

static enum cr_status on_round(struct cr_client *client, const struct cr_message *message)
{
    switch (message->type) {
    case CR_FRAME_BEGIN:
        return cr_client_on_begin(client, message);
    case CR_FRAME_PULL:
        return cr_client_on_pull(client, message);
    case CR_FRAME_VALUES:
        return cr_client_on_values(client, message);
    case CR_FRAME_CLOSED:
        cr_emit(client->sink, CR_EVENT_INFO, "client.closed", NULL,
                CR_FIELD("round", message->closed.round + 1), CR_FIELD("silos", message->closed.silos),
                CR_FIELD("loss", message->closed.loss));
        if (client->training && !client->final && client->round == message->closed.round)
            cr_emit(client->sink, CR_EVENT_WARNING, "client.late", NULL,
                    CR_FIELD("round", client->round + 1));
        return CR_OK;
    case CR_FRAME_FINISHED:
        return cr_client_on_finished(client, message);
    default:
        return refuse(message);
    }
}

static enum cr_status on_received(void *context, struct cr_connection *connection,
                                  const struct cr_message *message)
{
    (void)connection;
    struct cr_client *client = context;
    if (client->ended) return CR_OK;
    // While it enrols the connection is not attested, so nothing else is accepted or given.
    if (client->enrolling && message->type != CR_FRAME_MANIFEST && message->type != CR_FRAME_ENROLLED)
        return cr_fail(CR_PROTOCOL, "%s came while this silo enrols", cr_frame_name(message->type));
    switch (message->type) {
    case CR_FRAME_ENROLLED:
        return on_enrolled(client, message);
    case CR_FRAME_MANIFEST:
        return cr_client_on_manifest(client, message);
    case CR_FRAME_JOB:
        return cr_client_on_job(client, message);
    default:
        // A split model's job has no rounds: a server that ends them would have this silo leave too early.
        if (!client->split) return on_round(client, message);
        return message->type == CR_FRAME_HELD ? cr_split_client_held(client, message) : refuse(message);
    }
}

// The server may be restarting, or the network be interrupted: then the silo reconnects.
static bool worth_retrying(enum cr_status status)
{
    return status == CR_OK || status == CR_IO || status == CR_TIMEOUT;
}

static void lost(struct cr_client *client, enum cr_status status, const char *why)
{
    double now = cr_clock_monotonic();
    if (client->manifest_came) client->alone_since = now; // the server was there, and dealt with this silo
    client->manifest_came = client->job_came = client->ready_sent = false;
    client->connection = NULL;
    if (client->ended) return;
    if (!worth_retrying(status)) {
        end_client(client, status, why);
        return;
    }
    if (status != CR_OK && strcmp(client->last_why, why) != 0) // the same message is not repeated
        cr_emit(client->sink, CR_EVENT_WARNING, "client.waiting", why, CR_FIELD("seconds", client->pause));
    snprintf(client->last_why, sizeof client->last_why, "%s", status == CR_OK ? "the server closed" : why);
    bool just_enrolled = client->enrolling && is_member(client);
    client->retry_at = just_enrolled ? now : now + client->pause;
    client->pause = client->pause * 2 < most_pause ? client->pause * 2 : most_pause;
}

static void on_closed(void *context, struct cr_connection *connection, enum cr_status status, const char *why)
{
    lost(context, status, why);
    cr_connection_free(connection);
}

static const struct cr_connection_handler handler = {on_opened, on_received, on_closed};

// Opens attestation as the agreed job requires.
static enum cr_status learn_attestation(struct cr_client *client)
{
    const struct cr_client_options *options = client->options;
    CR_CLEANUP(cr_config_release) struct cr_config config = {0};
    if (client->attested_known) return CR_OK;
    CR_TRY(cr_config_parse_job(client->state->manifest.settings, &config));
    // A split model's silo needs no TEE: it holds only its own data and the public front of the model.
    const struct cr_attested_host host = {.attester = options->attester ? options->attester : "auto",
                                          .tpm = options->tpm,
                                          .endorsements = options->endorsements,
                                          .shows = !cr_tuning_config_split(&config.tuning),
                                          .demands = true,
                                          .state = client->state->path};
    CR_TRY(cr_attested_open(&client->state->manifest, &host, client->sink, &client->attested));
    client->attested_known = true;
    return CR_OK;
}

enum cr_status cr_client_prepare(struct cr_client *client)
{
    if (is_member(client)) CR_TRY(learn_attestation(client));
    cr_tls_free(client->tls);
    client->tls = NULL;
    CR_TRY(is_member(client) ? cr_tls_new_member(client->state->identity, &client->tls)
                             : cr_tls_new_enrol(client->token.fingerprint, &client->tls));
    cr_tls_set_admission(client->tls, cr_attested_admission(client->attested));
    return CR_OK;
}

static enum cr_status connect_now(struct cr_client *client)
{
    CR_TRY(cr_client_prepare(client));
    enum cr_status status = cr_connection_open(client->loop, client->tls, client->token.address,
                                               client->timeout, &handler, client, &client->connection);
    if (status != CR_OK) lost(client, status, cr_error_message());
    return CR_OK;
}

// Whether the silo was told that all rounds are done, and has the result if it was to fetch it.
static enum cr_status knows_the_end(struct cr_client *client, bool *knows)
{
    const struct cr_client_state *state = client->state;
    *knows = false;
    if (!state->has_manifest || !state->has_seen) return CR_OK;
    if (!client->has_config) CR_TRY(cr_config_parse_job(state->manifest.settings, &client->config));
    client->has_config = true;
    if (state->seen.round < client->config.federation.rounds) return CR_OK;
    if (client->options->output) return cr_client_state_fetched(state, client->options->output, knows);
    *knows = true;
    return CR_OK;
}

// No server could be reached for too long. That is no failure if this silo already has all it needs.
static enum cr_status end_alone(struct cr_client *client)
{
    bool knows;
    CR_TRY(knows_the_end(client, &knows));
    if (knows) return cr_client_done(client);
    return cr_fail(CR_TIMEOUT, "no connection to the server for %.0f seconds: %s", client->timeout,
                   client->last_why);
}

static enum cr_status run(struct cr_client *client, bool (*keep_going)(void *context), void *context)
{
    client->alone_since = cr_clock_monotonic();
    while (!client->ended || client->connection) {
        double now = cr_clock_monotonic();
        if (!client->ended && !client->connection) {
            if (now - client->alone_since > client->timeout) CR_TRY(end_alone(client));
            if (!client->ended && now >= client->retry_at) CR_TRY(connect_now(client));
        }
        CR_TRY(cr_loop_step(client->loop, step_seconds));
        if (keep_going && !keep_going(context)) {
            if (client->ended) break; // do not wait until the server has its last message
            return cr_fail(CR_CANCELLED, "stopped (start again with the same --state to go on)");
        }
        if (client->split) CR_TRY(cr_split_client_step(client));
        CR_TRY(cr_client_take_result(client));
        CR_TRY(cr_client_show_progress(client, now));
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

// A silo that knows the job waits for a server as long as the job says.
static enum cr_status take_timeout(struct cr_client *client)
{
    CR_CLEANUP(cr_config_release) struct cr_config config = {0};
    client->timeout = first_timeout;
    if (!client->state->has_manifest) return CR_OK;
    CR_TRY(cr_config_parse_job(client->state->manifest.settings, &config));
    client->timeout = config.federation.progress_timeout;
    return CR_OK;
}

static enum cr_status open_client(struct cr_client *client)
{
    CR_FREE char *path = NULL;
    CR_TRY(cr_token_parse(client->options->token, &client->token));
    CR_TRY(cr_client_state_path(client->options, &client->token, &path));
    CR_TRY(cr_client_state_open(path, &client->token, client->options->key, &client->state));
    CR_TRY(cr_client_state_keep_token(client->state, &client->token));
    CR_TRY(take_timeout(client));
    return cr_loop_new(&client->loop);
}

// Tells the server why this silo gives up, and waits a moment for that to be sent.
static void say_farewell(struct cr_client *client, enum cr_status status, const char *why)
{
    client->ended = true;
    if (!client->connection) return;
    cr_connection_refuse(client->connection, status, why);
    double since = cr_clock_monotonic();
    while (client->connection && cr_clock_monotonic() - since < farewell_seconds)
        if (cr_loop_step(client->loop, step_seconds) != CR_OK) return;
}

static void close_client(struct cr_client *client)
{
    cr_split_client_close(client);
    cr_connection_free(client->connection); // first: the worker may still wait for its accelerator
    cr_worker_free(client->worker);
    cr_tls_free(client->tls);
    cr_attested_close(client->attested);
    cr_loop_free(client->loop);
    cr_vector_release(client->incoming);
    cr_vector_release(client->update);
    cr_client_state_close(client->state);
    if (client->has_config) cr_config_release(&client->config);
    free(client->worker_state);
    free(client->kept_state);
    cr_token_release(&client->token);
    cr_wipe(client, sizeof *client);
    free(client);
}

enum cr_status cr_client_run(const struct cr_client_options *options, const struct cr_learner_kind *learner,
                             const struct cr_event_sink *sink, bool (*keep_going)(void *context),
                             void *context)
{
    struct cr_client *client;
    CR_TRY(cr_allocate(1, sizeof *client, &client));
    client->options = options;
    client->kind = learner;
    client->pause = least_pause;
    enum cr_status status = open_client(client);
    if (status == CR_OK) status = cr_worker_new(learner, sink, client->loop, &client->worker);
    if (status == CR_OK) {
        client->sink = cr_worker_sink(client->worker);
        if (is_member(client))
            cr_emit(client->sink, CR_EVENT_INFO, "client.known", NULL,
                    CR_FIELD_TEXT("silo", client->token.name), CR_FIELD_TEXT("state", client->state->path));
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
