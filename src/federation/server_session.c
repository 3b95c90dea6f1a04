// Connections of a server and their messages, from the accepted socket to the end.
#include "base/clock.h"
#include "federation/invitation.h"
#include "federation/server_parts.h"
#include "federation/split_server.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const double least_progress_seconds = 0.1; // between two reports of progress; silos wait a second
static const double told_seconds = 10; // between two reports of strangers, or of a silo that comes too often
enum { TOLD_VISITS = 32 };             // of a silo, before that is too often

static enum cr_status check_version(uint32_t version)
{
    if (version == CR_PROTOCOL_VERSION) return CR_OK;
    return cr_fail(CR_PROTOCOL, "protocol version %u, where the server speaks %d", version,
                   CR_PROTOCOL_VERSION);
}

// Refuses a connection that is no longer its silo's.
static void dismiss(struct cr_server_session *session, const char *why)
{
    session->silo = SIZE_MAX;
    cr_connection_refuse(session->connection, CR_DENIED, why);
}

static enum cr_status on_opened(void *context, struct cr_connection *connection)
{
    struct cr_server_session *session = context;
    struct cr_server *server = session->server;
    const struct cr_peer *peer = cr_connection_peer(connection);
    if (peer->anonymous) return CR_OK;
    size_t number = cr_state_find(server->state, peer->name);
    if (number == SIZE_MAX || strcmp(peer->role, server->state->members[number].role) != 0)
        return cr_fail(CR_DENIED, "%s is not enrolled with this server", peer->name);
    if (memcmp(peer->key, server->state->members[number].key, CR_SHA256_SIZE) != 0)
        return cr_fail(CR_DENIED, "%s was enrolled anew: this certificate is no longer good", peer->name);
    CR_TRY(cr_manifest_admits(&server->manifest, peer->name, peer->key));
    // Other connections of this silo that have not sent Ready are ended too, so that a member cannot hold
    // many.
    for (struct cr_server_session *s = server->sessions; s; s = s->next)
        if (s->silo == number && !s->ready) dismiss(s, "another connection of this silo took over");
    session->silo = number;
    return CR_OK;
}

// Reports a silo's connection, or another's that ended; `others` ended before it without being reported.
static void tell(struct cr_server *server, const char *event, const struct cr_connection *connection,
                 const char *why, size_t others)
{
    const struct cr_event_field fields[] = {
        CR_FIELD_TEXT("silo", cr_connection_peer(connection)->name),
        CR_FIELD_TEXT("address", cr_connection_address(connection)),
        CR_FIELD("others", others),
    };
    size_t count = sizeof fields / sizeof *fields - (others == 0);
    cr_event_send(server->sink, why ? CR_EVENT_WARNING : CR_EVENT_INFO, event, why, fields, count);
}

// A silo may come and go as often as it likes, for weeks. So in the long run not all of its connections are
// reported; of one that began without a report, the end is not reported either.
static bool may_tell(struct cr_visits *visits)
{
    double now = cr_clock_monotonic();
    visits->told = fmax(0, visits->told - (now - visits->told_at) / told_seconds);
    visits->told_at = now;
    if (visits->told > TOLD_VISITS - 1) return false;
    visits->told++;
    return true;
}

static void tell_joined(struct cr_server_session *session)
{
    struct cr_visits *visits = &session->server->visits[session->silo];
    if (!may_tell(visits)) return;
    session->told_joined = true;
    tell(session->server, "server.joined", session->connection, NULL, visits->unheard);
    visits->unheard = 0;
}

void cr_server_tell_joined(struct cr_server *server)
{
    for (size_t i = 0; i < server->state->member_count; i++) {
        struct cr_server_session *session = server->by_silo[i];
        if (session && !session->told_joined) tell_joined(session);
    }
}

// Reports that a connection of this silo ended. One that was refused before it was ready counts as well.
static void tell_left(struct cr_server_session *session, size_t silo, const char *why)
{
    struct cr_visits *visits = &session->server->visits[silo];
    if (!session->told_joined && (session->ready || !may_tell(visits))) {
        visits->unheard++;
        return;
    }
    tell(session->server, "server.left", session->connection, why, visits->unheard);
    visits->unheard = 0;
}

// A silo has one connection: a newer one replaces the older one, which may be dead already.
static enum cr_status supersede(struct cr_server *server, size_t silo, const char *why)
{
    struct cr_server_session *older = server->by_silo[silo];
    if (!older) return CR_OK;
    server->by_silo[silo] = NULL;
    tell_left(older, silo, why); // before the new connection is reported
    older->told_left = true;
    dismiss(older, why);
    return cr_server_event(server, CR_ROUND_LOST, silo, NULL);
}

// The key with which this name enrolled before is no longer valid: ends connections that use it.
static enum cr_status end_older_key(struct cr_server *server, const struct cr_member *member)
{
    static const char why[] = "this silo was enrolled anew: its older certificate is no longer good";
    size_t silo = cr_state_find(server->state, member->name);
    const struct cr_server_session *ready = server->by_silo[silo];
    if (ready && memcmp(cr_connection_peer(ready->connection)->key, member->key, CR_SHA256_SIZE) != 0)
        CR_TRY(supersede(server, silo, why));
    for (struct cr_server_session *s = server->sessions; s; s = s->next)
        if (s->silo == silo &&
            memcmp(cr_connection_peer(s->connection)->key, member->key, CR_SHA256_SIZE) != 0)
            dismiss(s, why);
    return CR_OK;
}

static enum cr_status send_manifest(struct cr_server_session *session)
{
    const struct cr_buffer *form = &session->server->manifest_form; // outlives the connections
    const struct cr_message manifest = {.type = CR_FRAME_MANIFEST, .body = cr_buffer_slice(form)};
    return cr_connection_send(session->connection, &manifest, NULL, NULL);
}

static enum cr_status on_enrol(struct cr_server_session *session, const struct cr_message *message)
{
    struct cr_server *server = session->server;
    CR_TRY(check_version(message->enrol.version));
    struct cr_member member;
    CR_CLEANUP(cr_buffer_release) struct cr_buffer certificate = {0};
    CR_CLEANUP(cr_buffer_release) struct cr_buffer authority = {0};
    CR_TRY(cr_identity_authority_der(server->state->authority, &authority));
    CR_TRY(cr_redeem(server->state, &server->manifest, message->enrol.secret, message->enrol.request,
                     cr_clock_unix(), &member, &certificate));
    cr_emit(server->sink, CR_EVENT_INFO, "server.enrolled", NULL, CR_FIELD_TEXT("silo", member.name),
            CR_FIELD_TEXT("address", cr_connection_address(session->connection)));
    CR_TRY(end_older_key(server, &member));
    CR_TRY(send_manifest(session)); // with the policy by which the silo will appraise this server
    struct cr_message reply = {
        .type = CR_FRAME_ENROLLED,
        .enrolled = {.certificate = cr_buffer_slice(&certificate), .authority = cr_buffer_slice(&authority)}};
    return cr_connection_send(session->connection, &reply, NULL, NULL);
}

static enum cr_status on_hello(struct cr_server_session *session, const struct cr_message *message)
{
    struct cr_server *server = session->server;
    CR_TRY(check_version(message->hello.version));
    struct cr_message job = {.type = CR_FRAME_JOB};
    memcpy(job.job.run, server->state->run, CR_SHA256_SIZE);
    const struct cr_tuning_config *tuning = &server->config->tuning;
    // A split model's silos need no seed.
    if (cr_tuning_config_sliced(tuning) && !server->split) job.job.seed = server->seed;
    CR_TRY(send_manifest(session));
    return cr_connection_send(session->connection, &job, NULL, NULL);
}

enum cr_status cr_server_admit(struct cr_server_session *session)
{
    struct cr_server *server = session->server;
    CR_TRY(supersede(server, session->silo, "another connection of this silo took over"));
    session->ready = server->state->members[session->silo].came = true;
    server->by_silo[session->silo] = session;
    tell_joined(session);
    return CR_OK;
}

static void end_run(struct cr_server *server, enum cr_status status, const char *why)
{
    if (server->ended) return;
    server->ended = true;
    server->status = status;
    snprintf(server->why, sizeof server->why, "%s", why);
}

// Compares what the silo remembers of this run with the state here. If the silo remembers more, the run ends.
static enum cr_status judge_memory(struct cr_server *server, const struct cr_message *message,
                                   const char *name)
{
    struct cr_seen own, kept = {.round = message->ready.seen};
    if (!message->ready.has_seen) return CR_OK;
    CR_TRY(cr_state_seen(server->state, &own));
    memcpy(kept.run, own.run, CR_SHA256_SIZE);
    memcpy(kept.start, message->ready.seen_start, CR_SHA256_SIZE);
    memcpy(kept.receipt, message->ready.seen_receipt, CR_RECEIPT_SIZE);
    enum cr_status status = cr_seen_judge(server->state->key, &own, &kept, name);
    if (status != CR_INVALID) return status;
    end_run(server, status, cr_error_message());
    return cr_fail(CR_DENIED, "%s", server->why); // CR_DENIED, so that the silo does not try again
}

static enum cr_status on_ready(struct cr_server_session *session, const struct cr_message *message)
{
    struct cr_server *server = session->server;
    const char *name = cr_server_silo_name(server, session->silo);
    if (memcmp(message->ready.structure, server->structure, CR_SHA256_SIZE) != 0 ||
        message->ready.count != server->global->count)
        return cr_fail(CR_DENIED,
                       "%s has another base model, tokenizer or tuned structure than the server "
                       "(compare model_name_or_path)",
                       name);
    if (session->ready) return cr_fail(CR_PROTOCOL, "%s said Ready twice", name);
    CR_TRY(judge_memory(server, message, name));
    CR_TRY(cr_server_admit(session));
    if (server->finishing) return server->saved ? cr_server_tell_finished(session) : CR_OK;
    return cr_server_event(server, CR_ROUND_READY, session->silo, NULL);
}

static enum cr_status on_progress(struct cr_server_session *session, const struct cr_message *message)
{
    double now = cr_clock_monotonic();
    if (message->progress.round != session->server->machine.round) return CR_OK; // for a round that is over
    if (now - session->progress_at < least_progress_seconds) return CR_OK;
    session->progress_at = now;
    const struct cr_event_field fields[] = {
        CR_FIELD_TEXT("silo", cr_server_silo_name(session->server, session->silo)),
        CR_FIELD("round", message->progress.round + 1),
        CR_FIELD("step", message->progress.step),
        CR_FIELD("steps", message->progress.steps),
        CR_FIELD("tokens_per_second", message->progress.tokens_per_second),
        CR_FIELD("loss", message->progress.loss), // left out with slicing
    };
    size_t count = sizeof fields / sizeof *fields - cr_tuning_config_sliced(&session->server->config->tuning);
    if (message->progress.step == 0) count = 4; // speed and loss are not known yet
    cr_event_send(session->server->sink, CR_EVENT_INFO, "round.progress", NULL, fields, count);
    return CR_OK;
}

// Checks an announced update before any of it is pulled.
static enum cr_status judge_answer(struct cr_server *server, size_t number, const struct cr_answer *answer)
{
    const struct cr_round *machine = &server->machine;
    const struct cr_round_silo *silo = &machine->silos[number];
    if (!silo->taking_part || silo->dropped || answer->round != machine->round) return CR_OK;
    if (answer->labelled == 0 && server->config->federation.weighting == CR_WEIGHTING_LABELLED_TOKENS)
        return cr_fail(CR_DENIED, "the update is refused: it was trained on no labelled token");
    // Each change makes the collection begin again. So a silo may change its update once, if it lost its
    // disk, and no more.
    if (machine->phase != CR_ROUND_COLLECTING || !silo->in_set ||
        (answer->labelled == silo->answer.labelled &&
         memcmp(answer->digest, silo->answer.digest, CR_SHA256_SIZE) == 0))
        return CR_OK;
    if (server->changed[number])
        return cr_fail(CR_DENIED, "the update is refused: it was changed again and again");
    server->changed[number] = true;
    return CR_OK;
}

static enum cr_status on_trained(struct cr_server_session *session, const struct cr_message *message)
{
    struct cr_server *server = session->server;
    struct cr_answer answer = {.round = message->trained.round,
                               .labelled = message->trained.labelled,
                               .loss_sum = message->trained.loss_sum};
    memcpy(answer.start, message->trained.start, CR_SHA256_SIZE);
    memcpy(answer.digest, message->trained.digest, CR_SHA256_SIZE);
    if (!isfinite(answer.loss_sum)) answer.loss_sum = 0; // only shown; the values are checked elsewhere
    enum cr_status judged = judge_answer(server, session->silo, &answer);
    if (judged != CR_OK) return cr_server_drop(server, session->silo, judged);
    session->answered = answer.round + 1;
    bool had = server->machine.silos[session->silo].answered;
    uint64_t round = server->machine.round;
    enum cr_status status = cr_server_event(server, CR_ROUND_ANSWERED, session->silo, &answer);
    if (!had && answer.round == round)
        cr_emit(server->sink, CR_EVENT_INFO, "round.trained", NULL,
                CR_FIELD_TEXT("silo", cr_server_silo_name(server, session->silo)),
                CR_FIELD("round", round + 1),
                CR_FIELD("loss", answer.labelled > 0 ? answer.loss_sum / (double)answer.labelled : 0),
                CR_FIELD("labelled", answer.labelled));
    return status;
}

static enum cr_status dispatch(struct cr_server_session *session, const struct cr_message *message)
{
    if (message->type == CR_FRAME_ENROL) return on_enrol(session, message);
    if (session->silo == SIZE_MAX || session->server->ended) return CR_OK; // and it has been told so
    if (message->type == CR_FRAME_HELLO) return on_hello(session, message);
    if (session->server->split) return cr_split_server_received(session, message);
    if (message->type == CR_FRAME_READY) return on_ready(session, message);
    if (!session->ready) return cr_fail(CR_PROTOCOL, "%s came before Ready", cr_frame_name(message->type));
    // Messages that a silo sent before it received Finished are ignored; they are no error.
    if (session->server->finishing && message->type != CR_FRAME_PULL) return CR_OK;
    switch (message->type) {
    case CR_FRAME_PULL:
        return cr_server_pull(session, message);
    case CR_FRAME_VALUES:
        return cr_server_values(session, message);
    case CR_FRAME_PROGRESS:
        return on_progress(session, message);
    case CR_FRAME_TRAINED:
        return on_trained(session, message);
    default:
        return cr_fail(CR_PROTOCOL, "%s is nothing that a silo says", cr_frame_name(message->type));
    }
}

// Whether the failure is the peer's fault, and ends only its connection.
static bool peers_fault(enum cr_status status)
{
    return status == CR_PROTOCOL || status == CR_DENIED;
}

static enum cr_status on_received(void *context, struct cr_connection *connection,
                                  const struct cr_message *message)
{
    (void)connection;
    struct cr_server_session *session = context;
    enum cr_status status = dispatch(session, message);
    if (status == CR_OK || peers_fault(status)) return status;
    // An enrolment that fails for a reason at this end (a full disk) ends only the newcomer's connection.
    session->ours = true;
    if (message->type != CR_FRAME_ENROL) end_run(session->server, status, cr_error_message());
    return status;
}

// Anyone may connect and leave again, such as a probe every second for weeks. So strangers are reported only
// now and then, and peers that show an invalid token are reported separately.
static void count_stranger(struct cr_server *server, const struct cr_connection *connection,
                           enum cr_status status, const char *why)
{
    double now = cr_clock_monotonic();
    struct cr_unheard *unheard = &server->unheard[status == CR_DENIED];
    if (unheard->told_at > 0 && now - unheard->told_at < told_seconds) {
        unheard->count++;
        return;
    }
    unheard->told_at = now;
    tell(server, "server.left", connection, why, unheard->count);
    unheard->count = 0;
}

static void on_closed(void *context, struct cr_connection *connection, enum cr_status status, const char *why)
{
    struct cr_server_session *session = context;
    struct cr_server *server = session->server;
    const struct cr_peer *peer = cr_connection_peer(connection);
    struct cr_server_session **at = &server->sessions;
    while (*at != session) at = &(*at)->next;
    *at = session->next;
    bool expected = status == CR_OK && (server->saved || server->split || peer->anonymous);
    const char *message = status == CR_OK ? "closed" : why;
    size_t member = cr_state_find(server->state, peer->name);
    if (!expected && session->ours && member == SIZE_MAX)
        tell(server, "server.left", connection, message, 0);
    else if (!expected && member == SIZE_MAX)
        count_stranger(server, connection, status, message);
    else if (!expected && !session->told_left)
        tell_left(session, member, message);
    size_t silo = session->silo;
    if (silo != SIZE_MAX && server->saved && status == CR_OK) server->told[silo] = true;
    if (silo != SIZE_MAX && server->by_silo[silo] == session) {
        server->by_silo[silo] = NULL;
        if (server->split) cr_split_server_left(server, silo, status == CR_OK);
        enum cr_status after = cr_server_event(server, CR_ROUND_LOST, silo, NULL);
        if (after != CR_OK) end_run(server, after, cr_error_message());
    }
    free(session);
    cr_connection_free(connection);
}

const struct cr_connection_handler cr_server_handler = {on_opened, on_received, on_closed};
