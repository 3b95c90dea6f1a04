#include "federation/server.h"

#include "base/clock.h"
#include "federation/server_parts.h"
#include "federation/split_serve.h"
#include "federation/split_server.h"

#include <stdio.h>

static const double step_seconds = 0.2, farewell_seconds = 3;

// Everyone whose work is in the result knows that it is done, or had time to come and hear.
static bool all_told(const struct cr_server *server)
{
    double waited = cr_clock_monotonic() - server->finishing_since;
    if (server->split) return cr_split_server_told(server);
    if (waited > server->config->federation.progress_timeout) return true;
    for (size_t i = 0; i < server->state->member_count; i++)
        if (server->by_silo[i]) return false; // told, and about to close
    if (server->set_count == 0) {
        // A restarted server does not know who took part last: whoever is enrolled may want to hear.
        for (size_t i = 0; i < server->state->member_count; i++)
            if (!server->told[i]) return false;
        return true;
    }
    for (size_t i = 0; i < server->set_count; i++)
        if (!server->told[server->set[i]]) return false;
    return true;
}

static enum cr_status serve(struct cr_server *server, bool (*keep_going)(void *context), void *context)
{
    bool settled = server->state->finished && server->state->settled;
    bool serves = cr_split_serve_wanted(server);
    if (server->state->finished)
        CR_TRY(server->split ? cr_server_saved(server) : cr_server_finish(server)); // whose result is there
    if (!settled || serves) CR_TRY(cr_server_listen(server));
    while (!server->ended) {
        CR_TRY(cr_loop_step(server->loop, step_seconds));
        if (keep_going && !keep_going(context)) {
            if (server->saved && serves) return CR_OK;
            return server->split
                       ? cr_fail(CR_CANCELLED, "stopped before the training was done (start again "
                                               "to go on)")
                       : cr_fail(CR_CANCELLED, "stopped before round %llu was done (start again to go on)",
                                 (unsigned long long)server->machine.round + 1);
        }
        CR_TRY(cr_server_take_job(server));
        if (server->saved && !serves && settled) return CR_OK;
        if (server->saved && !serves && all_told(server)) return cr_state_settle(server->state);
        if (server->split) CR_TRY(cr_split_server_tick(server));
        CR_TRY(cr_server_event(server, CR_ROUND_TICK, 0, NULL));
        CR_TRY(cr_server_judge_pulls(server));
    }
    return cr_fail(server->status, "%s", server->why);
}

// Tells every silo why the run ended, and gives them a moment to hear it. Who has not shown to be one is told
// nothing of rounds and of others.
static void say_farewell(struct cr_server *server, const char *why)
{
    for (struct cr_server_session *s = server->sessions; s; s = s->next)
        cr_connection_refuse(s->connection, CR_DENIED, s->silo == SIZE_MAX ? "the server ends" : why);
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
        say_farewell(server, why);
        status = cr_fail(status, "%s", why);
    }
    cr_server_close(server);
    return status;
}
