// What a server does in its rounds: the actions of the state machine, and messages to silos.
#include "federation/server_parts.h"

#include "base/clock.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

const char *cr_server_silo_name(const struct cr_server *server, size_t silo)
{
    return server->state->members[silo].name;
}

static enum cr_status send_begin(struct cr_server *server, size_t silo)
{
    struct cr_server_session *session = server->by_silo[silo];
    if (!session) return CR_OK;
    enum cr_status status = cr_connection_appraise_again(session->connection, server->machine.round + 1);
    if (status != CR_OK) {
        // The end of this connection is reported like any other.
        cr_connection_refuse(session->connection, status, cr_error_message());
        return CR_OK;
    }
    // The machine's state is on disk: nothing newer is ever announced.
    struct cr_seen seen;
    CR_TRY(cr_state_seen(server->state, &seen));
    struct cr_message message = {.type = CR_FRAME_BEGIN,
                                 .begin = {.round = seen.round, .count = server->global->count}};
    memcpy(message.begin.start, seen.start, CR_SHA256_SIZE);
    memcpy(message.begin.receipt, seen.receipt, CR_RECEIPT_SIZE);
    return cr_connection_send(session->connection, &message, NULL, NULL);
}

// Too few silos are left: ends the run. Its state stays, for another server to continue.
static void fail(struct cr_server *server)
{
    const struct cr_round *machine = &server->machine;
    bool refused = false;
    size_t left = 0;
    for (size_t i = 0; i < machine->silo_count; i++) {
        refused |= machine->silos[i].refused;
        left += machine->silos[i].present && !machine->silos[i].dropped;
    }
    server->ended = true;
    server->status = refused ? CR_DENIED : CR_TIMEOUT;
    snprintf(server->why, sizeof server->why,
             "round %llu cannot close: %zu of at least %zu silos are left%s (start the server again to go on "
             "from this round)",
             (unsigned long long)machine->round + 1, left, machine->rules.min_clients,
             refused ? ", after an update was refused" : ", and the others did not come back in time");
}

static enum cr_status perform(struct cr_server *server)
{
    // Actions are done in order; none of them adds another one.
    for (size_t i = 0; i < server->actions.count; i++) {
        const struct cr_round_action *action = &server->actions.items[i];
        switch (action->kind) {
        case CR_ROUND_BEGIN:
            CR_TRY(send_begin(server, action->silo));
            break;
        case CR_ROUND_COLLECT:
            CR_TRY(cr_server_collect(server));
            break;
        case CR_ROUND_RESUME:
            CR_TRY(cr_server_ask_again(server, action->silo));
            break;
        case CR_ROUND_DROP:
            cr_emit(server->sink, CR_EVENT_WARNING, "round.dropped",
                    "a silo was away for too long: it is left out of this round",
                    CR_FIELD_TEXT("silo", cr_server_silo_name(server, action->silo)),
                    CR_FIELD("round", server->machine.round + 1));
            break;
        case CR_ROUND_FAIL:
            fail(server);
            return CR_OK;
        }
    }
    return CR_OK;
}

static void announce_round(struct cr_server *server)
{
    size_t silos = 0;
    for (size_t i = 0; i < server->machine.silo_count; i++) silos += server->machine.silos[i].taking_part;
    server->round_began = cr_clock_monotonic();
    memset(server->changed, 0, sizeof server->changed);
    for (struct cr_server_session *s = server->sessions; s; s = s->next) s->progress_at = 0;
    cr_emit(server->sink, CR_EVENT_INFO, "round.begin", NULL, CR_FIELD("round", server->machine.round + 1),
            CR_FIELD("rounds", server->config->federation.rounds), CR_FIELD("silos", silos));
}

enum cr_status cr_server_event(struct cr_server *server, enum cr_round_event_kind kind, size_t silo,
                               const struct cr_answer *answer)
{
    if (server->ended || server->finishing || server->split) return CR_OK;
    struct cr_round_event event = {.kind = kind, .silo = silo, .answer = answer};
    bool waited = server->machine.phase == CR_ROUND_WAITING;
    cr_round_handle(&server->machine, cr_clock_monotonic(), &event, &server->actions);
    if (waited && server->machine.phase != CR_ROUND_WAITING) announce_round(server);
    if (server->machine.phase != CR_ROUND_COLLECTING) cr_server_stop_collecting(server);
    return perform(server);
}

// Reports the silos that train a round that closes without them.
static void tell_late(const struct cr_server *server)
{
    for (size_t i = 0; i < server->machine.silo_count; i++) {
        const struct cr_round_silo *silo = &server->machine.silos[i];
        if (silo->taking_part && !silo->in_set && !silo->dropped)
            cr_emit(server->sink, CR_EVENT_WARNING, "round.late", NULL,
                    CR_FIELD_TEXT("silo", cr_server_silo_name(server, i)),
                    CR_FIELD("round", server->machine.round + 1));
    }
}

static void tell_closed(struct cr_server *server, double loss)
{
    struct cr_message closed = {
        .type = CR_FRAME_CLOSED,
        .closed = {.round = server->machine.round, .silos = server->set_count, .loss = loss}};
    for (size_t i = 0; i < CR_SILOS; i++)
        // If this message cannot be queued, the silo only misses a line of its display.
        if (server->by_silo[i])
            (void)!cr_connection_send(server->by_silo[i]->connection, &closed, NULL, NULL);
}

enum cr_status cr_server_close_round(struct cr_server *server)
{
    double loss_sum = 0, labelled = 0;
    for (size_t i = 0; i < server->set_count; i++) {
        const struct cr_answer *answer = &server->machine.silos[server->set[i]].answer;
        loss_sum += answer->loss_sum;
        labelled += (double)answer->labelled;
    }
    double loss = labelled > 0 ? loss_sum / labelled : 0;
    if (!isfinite(loss)) loss = 0; // only shown to people; silos refuse values that are not finite
    loss = cr_discretion_loss(server->config, loss);
    uint64_t round = server->machine.round + 1;
    bool last = round >= server->config->federation.rounds;
    CR_TRY(cr_state_advance(server->state, round, last, server->next_digest));
    cr_vector_release(server->global);
    server->global = server->next;
    server->next = NULL;
    cr_aggregate_free(server->aggregate);
    server->aggregate = NULL;
    cr_emit(server->sink, CR_EVENT_INFO, "round.done", NULL, CR_FIELD("round", round),
            CR_FIELD("rounds", server->config->federation.rounds), CR_FIELD("silos", server->set_count),
            CR_FIELD("loss", loss), CR_FIELD("labelled", labelled),
            CR_FIELD("seconds", cr_clock_monotonic() - server->round_began));
    tell_late(server);
    tell_closed(server, loss);
    if (last) return cr_server_finish(server);
    cr_round_next(&server->machine, cr_clock_monotonic(), server->state->digest, &server->actions);
    announce_round(server);
    return perform(server);
}

enum cr_status cr_server_drop(struct cr_server *server, size_t silo, enum cr_status reason)
{
    char why[512];
    snprintf(why, sizeof why, "%s", cr_error_message());
    cr_emit(server->sink, CR_EVENT_WARNING, "round.dropped", why,
            CR_FIELD_TEXT("silo", cr_server_silo_name(server, silo)),
            CR_FIELD("round", server->machine.round + 1));
    if (reason != CR_TIMEOUT) server->state->members[silo].came = false; // not waited for at the end
    // It is dropped even if it is not connected now.
    struct cr_server_session *session = server->by_silo[silo];
    if (session) cr_connection_refuse(session->connection, reason, why);
    return cr_server_event(server, reason == CR_TIMEOUT ? CR_ROUND_LATE : CR_ROUND_REFUSED, silo, NULL);
}

// Notes that a silo fetches the result, which extends the time that all wait for it. Only whole pieces count,
// and each silo can extend the time only so often, though it may begin again after its connection was cut.
static void note_fetched(struct cr_server_session *session, const struct cr_message *pull)
{
    enum { TIMES = 8 };
    struct cr_server *server = session->server;
    uint64_t count = server->global->count, *fetched = &server->fetched[session->silo];
    if (pull->pull.count < cr_least(CR_CHUNK, count - pull->pull.first) || *fetched >= TIMES * count) return;
    *fetched += pull->pull.count;
    server->finishing_since = cr_clock_monotonic();
}

enum cr_status cr_server_pull(struct cr_server_session *session, const struct cr_message *message)
{
    struct cr_server *server = session->server;
    // A request for an earlier round is ignored: the silo has been told of the next one. After the last
    // round, the start values of the round after it are the result.
    if (message->pull.round != server->state->round) return CR_OK;
    if (server->state->finished && !cr_release_gives_silos(server->config->federation.release))
        return cr_fail(CR_DENIED, "the job's federation.release gives silos no result");
    if (!cr_vector_has_chunk(server->global, message->pull.first, message->pull.count))
        return cr_fail(CR_PROTOCOL, "values %llu to %llu were asked for, where there are %zu",
                       (unsigned long long)message->pull.first,
                       (unsigned long long)(message->pull.first + message->pull.count),
                       server->global->count);
    if (server->finishing) note_fetched(session, message);
    struct cr_message values = {
        .type = CR_FRAME_VALUES,
        .values = {.round = message->pull.round, .first = message->pull.first},
        .body = cr_vector_slice(server->global, (size_t)message->pull.first, (size_t)message->pull.count)};
    return cr_connection_send(session->connection, &values, cr_vector_release,
                              cr_vector_hold(server->global));
}

enum cr_status cr_server_tell_finished(struct cr_server_session *session)
{
    struct cr_seen seen;
    CR_TRY(cr_state_seen(session->server->state, &seen));
    struct cr_message message = {.type = CR_FRAME_FINISHED,
                                 .finished.rounds = session->server->config->federation.rounds};
    memcpy(message.finished.digest, seen.start, CR_SHA256_SIZE);
    memcpy(message.finished.receipt, seen.receipt, CR_RECEIPT_SIZE);
    return cr_connection_send(session->connection, &message, NULL, NULL);
}
