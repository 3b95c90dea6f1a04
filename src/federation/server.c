#include "federation/server.h"

#include "base/clock.h"
#include "federation/server_parts.h"
#include "federation/split_serve.h"
#include "federation/split_server.h"

#include <stdio.h>

static const double step_seconds = 0.2, farewell_seconds = 3;

// Appends the names of silos that took part and were not told yet that all rounds are done. A server that was
// restarted after the last round does not know which ones took part, so it names all enrolled silos.
static enum cr_status append_untold(const struct cr_server *server, struct cr_buffer *out)
{
    for (size_t i = 0; i < server->state->member_count; i++) {
        if (server->told[i] || (server->set_count > 0 && !server->state->members[i].came)) continue;
        CR_TRY(cr_append_format(out, "%s%s", out->size > 0 ? ", " : "", cr_server_silo_name(server, i)));
    }
    return CR_OK;
}

// Whether all silos whose updates are in the result were told that it is done.
static bool set_is_told(const struct cr_server *server)
{
    bool all = true;
    for (size_t i = 0; i < server->set_count; i++) all &= server->told[server->set[i]];
    for (size_t i = 0; server->set_count == 0 && i < server->state->member_count; i++) all &= server->told[i];
    return all;
}

// Sets *done once all silos that took part know that the run is done, or have had the time to come and be
// told. The state is settled only if all of them know.
static enum cr_status end_telling(struct cr_server *server, bool *done)
{
    if (server->split) {
        *done = cr_split_server_told(server);
        return *done ? cr_state_settle(server->state) : CR_OK;
    }
    CR_CLEANUP(cr_buffer_release) struct cr_buffer untold = {0};
    CR_TRY(append_untold(server, &untold));
    bool leaving = false; // a silo was told, and is about to close
    for (size_t i = 0; i < server->state->member_count; i++) leaving |= server->by_silo[i] != NULL;
    bool over = cr_clock_monotonic() - server->finishing_since > server->config->federation.progress_timeout;
    *done = over || (untold.size == 0 && !leaving);
    if (!*done) return CR_OK;
    if (set_is_told(server) && server->config->federation.release == CR_RELEASE_SILOS)
        CR_TRY(cr_state_deliver(server->state));
    if (untold.size == 0) return cr_state_settle(server->state);
    CR_CLEANUP(cr_buffer_release) struct cr_buffer message = {0};
    CR_TRY(cr_append_format(&message,
                            "silos that have not come to hear that the run is done, nor for their result: %s "
                            "(start the server again)",
                            cr_buffer_text(&untold)));
    cr_emit(server->sink, CR_EVENT_WARNING, "server.untold", cr_buffer_text(&message),
            CR_FIELD_TEXT("silos", cr_buffer_text(&untold)));
    return CR_OK;
}

static enum cr_status stopped(const struct cr_server *server)
{
    if (server->split)
        return cr_fail(CR_CANCELLED, "stopped before the training was done (start again to go on)");
    if (server->saved)
        return cr_fail(CR_CANCELLED, "stopped before every silo had heard that the run is done (start again "
                                     "for them to hear)");
    if (server->finishing)
        return cr_fail(CR_CANCELLED, "stopped before the result was written (start again to go on)");
    return cr_fail(CR_CANCELLED, "stopped before round %llu was done (start again to go on)",
                   (unsigned long long)server->machine.round + 1);
}

static enum cr_status serve(struct cr_server *server, bool (*keep_going)(void *context), void *context)
{
    // Once a split model is trained, a restarted server has nothing left to tell its silos.
    bool settled = server->state->finished && (server->state->settled || server->split);
    bool serves = cr_split_serve_wanted(server);
    if (server->state->finished)
        CR_TRY(server->split ? cr_server_saved(server) : cr_server_finish(server)); // its result exists
    if (!settled || serves) CR_TRY(cr_server_listen(server));
    while (!server->ended) {
        CR_TRY(cr_loop_step(server->loop, step_seconds));
        if (keep_going && !keep_going(context)) return server->saved && serves ? CR_OK : stopped(server);
        CR_TRY(cr_server_take_job(server));
        if (server->saved && !serves && settled) return CR_OK;
        bool done = false;
        if (server->saved && !serves) CR_TRY(end_telling(server, &done));
        if (done) return CR_OK;
        cr_server_tell_joined(server);
        if (server->split) CR_TRY(cr_split_server_tick(server));
        CR_TRY(cr_server_event(server, CR_ROUND_TICK, 0, NULL));
        CR_TRY(cr_server_judge_pulls(server));
    }
    return cr_fail(server->status, "%s", server->why);
}

// Tells every silo why the run ended, and waits a moment for that to be sent. From the status silos know
// whether to wait for a restarted server. Peers that have not identified themselves as a silo are told
// nothing about rounds and other silos.
static void say_farewell(struct cr_server *server, enum cr_status status, const char *why)
{
    for (struct cr_server_session *s = server->sessions; s; s = s->next)
        cr_connection_refuse(s->connection, status, s->silo == SIZE_MAX ? "the server ends" : why);
    double since = cr_clock_monotonic();
    while (server->sessions && cr_clock_monotonic() - since < farewell_seconds)
        if (cr_loop_step(server->loop, step_seconds) != CR_OK) return;
}

enum cr_status cr_server_run(const struct cr_config *config, const struct cr_sealing_key *key,
                             const struct cr_learner_kind *learner, const struct cr_event_sink *sink,
                             bool (*keep_going)(void *context), void *context)
{
    struct cr_server *server;
    CR_TRY(cr_allocate(1, sizeof *server, &server));
    server->config = config;
    server->key = key;
    server->kind = learner;
    server->sink = sink;
    enum cr_status status = cr_server_open(server);
    if (status == CR_OK) status = serve(server, keep_going, context);
    if (status != CR_OK && status != CR_CANCELLED && server->loop) {
        char why[1024];
        snprintf(why, sizeof why, "%s", cr_error_message());
        server->ended = true;
        say_farewell(server, status, why);
        status = cr_fail(status, "%s", why);
    }
    cr_server_close(server);
    return status;
}
