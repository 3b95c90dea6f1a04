// The server's collection of a round's updates: it pulls the same piece from every silo, and another thread
// adds it to the sum while the next piece arrives. Then the new values are stored and, after the last round,
// the result is saved.
#include "federation/server_parts.h"

#include "base/clock.h"
#include "base/file.h"
#include "federation/released.h"

#include <stdlib.h>
#include <string.h>

// Bytes of all silos' pieces together. There are two pieces for each silo here and one in each connection,
// which is a fraction of a large adapter.
enum { PIECES_SIZE = 32 << 20, LEAST_PIECE = 4096 };

// Requests the current piece from every silo of the set, except those that were asked already, are away, or
// came back and have not yet announced their update again (their disk may have been lost).
static enum cr_status ask(struct cr_server *server)
{
    size_t first, count;
    cr_aggregate_wanted(server->aggregate, &first, &count);
    for (size_t i = 0; i < server->set_count; i++) {
        struct cr_server_session *session = server->by_silo[server->set[i]];
        if (!session || session->answered != server->machine.round + 1) continue;
        if (server->asked[i] || !cr_aggregate_wants(server->aggregate, i)) continue;
        struct cr_message pull = {.type = CR_FRAME_PULL,
                                  .pull = {.round = server->machine.round, .first = first, .count = count}};
        CR_TRY(cr_connection_send(session->connection, &pull, NULL, NULL));
        server->asked[i] = true;
    }
    return CR_OK;
}

enum cr_status cr_server_ask_again(struct cr_server *server, size_t silo)
{
    for (size_t i = 0; i < server->set_count; i++)
        if (server->set[i] == silo) server->asked[i] = false;
    return ask(server);
}

void cr_server_stop_collecting(struct cr_server *server)
{
    cr_job_drop(server->job); // it works on what is freed now
    server->task = CR_SERVER_IDLE;
    cr_aggregate_free(server->aggregate);
    server->aggregate = NULL;
    cr_vector_release(server->next);
    server->next = NULL;
    server->set_count = 0;
}

// Sorts the set by name, which, unlike by number, does not depend on who enrolled first.
static void order_set(struct cr_server *server)
{
    server->set_count = 0;
    for (size_t i = 0; i < server->machine.silo_count; i++) {
        if (!server->machine.silos[i].in_set) continue;
        size_t at = server->set_count++;
        const char *name = cr_server_silo_name(server, i);
        for (; at > 0 && strcmp(cr_server_silo_name(server, server->set[at - 1]), name) > 0; at--)
            server->set[at] = server->set[at - 1];
        server->set[at] = i;
    }
}

enum cr_status cr_server_collect(struct cr_server *server)
{
    cr_server_stop_collecting(server);
    order_set(server);
    CR_FREE struct cr_aggregate_silo *silos = NULL;
    CR_TRY(cr_allocate(server->set_count, sizeof *silos, &silos));
    for (size_t i = 0; i < server->set_count; i++) {
        const struct cr_answer *answer = &server->machine.silos[server->set[i]].answer;
        bool uniform = server->config->federation.weighting == CR_WEIGHTING_UNIFORM;
        silos[i].weight = uniform ? 1 : answer->labelled;
        memcpy(silos[i].digest, answer->digest, CR_SHA256_SIZE);
        server->asked[i] = false;
    }
    server->wanted_since = cr_clock_monotonic();
    size_t count = server->global->count;
    size_t piece = PIECES_SIZE / sizeof(float) / server->set_count;
    piece = cr_least(cr_most(piece, LEAST_PIECE), CR_CHUNK);
    CR_TRY(cr_vector_new(count, &server->next));
    CR_TRY(
        cr_aggregate_new(silos, server->set_count, count, piece, server->next->values, &server->aggregate));
    return ask(server);
}

enum cr_status cr_server_judge_pulls(struct cr_server *server)
{
    // Twice the timeout: a silo may be away once and come back, but repeated absence does not extend the
    // limit.
    double limit = 2 * server->config->federation.progress_timeout;
    if (!server->aggregate || cr_clock_monotonic() - server->wanted_since <= limit) return CR_OK;
    for (size_t i = 0; i < server->set_count; i++) {
        if (!cr_aggregate_wants(server->aggregate, i)) continue;
        enum cr_status late =
            cr_fail(CR_TIMEOUT, "a piece of its update did not come for %.0f seconds", limit);
        return cr_server_drop(server, server->set[i], late); // this changes the set
    }
    return CR_OK;
}

static void start(struct cr_server *server, enum cr_server_task task, enum cr_status (*work)(void *context))
{
    server->task = task;
    cr_job_start(server->job, work, server);
}

// Runs on the job's thread, like the other two below.
static enum cr_status fold(void *context)
{
    struct cr_server *server = context;
    return cr_aggregate_fold(server->aggregate, server->pool, &server->refused);
}

// If all silos have sent their part, and the previous piece has been added: adds this one while the next
// arrives.
static enum cr_status go_on(struct cr_server *server)
{
    if (server->task != CR_SERVER_IDLE || !cr_aggregate_full(server->aggregate)) return CR_OK;
    cr_aggregate_turn(server->aggregate);
    server->wanted_since = cr_clock_monotonic();
    start(server, CR_SERVER_FOLDING, fold);
    return ask(server);
}

enum cr_status cr_server_values(struct cr_server_session *session, const struct cr_message *message)
{
    struct cr_server *server = session->server;
    size_t place = 0;
    while (place < server->set_count && server->set[place] != session->silo) place++;
    // Values that were requested before the collection began again are ignored; they are no error.
    if (!server->aggregate || place == server->set_count || message->values.round != server->machine.round)
        return CR_OK;
    size_t first, count;
    cr_aggregate_wanted(server->aggregate, &first, &count);
    if (message->values.first != first || !server->asked[place]) return CR_OK;
    if (message->body.size != count * sizeof(float))
        return cr_fail(CR_PROTOCOL, "a chunk of %zu bytes where %zu were asked for", message->body.size,
                       count * sizeof(float));
    server->asked[place] = false;
    CR_TRY(cr_aggregate_put(server->aggregate, place, (const float *)(const void *)message->body.data));
    return go_on(server);
}

static enum cr_status store(void *context)
{
    struct cr_server *server = context;
    return cr_state_store(server->state, server->machine.round + 1, server->next, server->next_digest);
}

static enum cr_status folded(struct cr_server *server, enum cr_status status)
{
    if (status == CR_DENIED) return cr_server_drop(server, server->set[server->refused], status);
    CR_TRY(status);
    if (!cr_aggregate_done(server->aggregate)) return go_on(server);
    start(server, CR_SERVER_STORING, store);
    return CR_OK;
}

static enum cr_status save_for_owner(const struct cr_server *server)
{
    CR_FREE char *path = NULL;
    struct cr_released_header header = {.seed = server->seed};
    memcpy(header.structure, server->structure, sizeof header.structure);
    CR_TRY(cr_path_join(server->config->tuning.output_dir, CR_RELEASED_FILE, &path));
    return cr_released_write(path, &server->manifest, &header, server->global);
}

// Opens the model again to save the result: during the rounds the server does not need it.
static enum cr_status save_clear(const struct cr_server *server)
{
    void *learner;
    CR_TRY(cr_server_open_learner(server, NULL, &learner));
    size_t count;
    float *values = server->kind->values(learner, &count);
    unsigned char structure[CR_SHA256_SIZE];
    enum cr_status status = server->kind->digest(learner, structure);
    if (status == CR_OK &&
        (count != server->global->count || memcmp(structure, server->structure, sizeof structure) != 0))
        status = cr_fail(CR_INVALID,
                         "%s: not what it was when the run began (start again with that to save the result)",
                         server->config->tuning.model_name_or_path);
    if (status == CR_OK) {
        memcpy(values, server->global->values, count * sizeof *values);
        status = server->kind->save(learner, server->config->tuning.output_dir);
    }
    server->kind->free(learner);
    return status;
}

static enum cr_status save(void *context)
{
    const struct cr_server *server = context;
    switch (server->config->federation.release) {
    case CR_RELEASE_ALL:
    case CR_RELEASE_SERVER:
        return save_clear(server);
    case CR_RELEASE_OWNER:
        return save_for_owner(server);
    default:
        return CR_OK; // the result is only in the state
    }
}

enum cr_status cr_server_finish(struct cr_server *server)
{
    server->finishing = true;
    start(server, CR_SERVER_SAVING, save);
    return CR_OK;
}

// Reports where the result is, or that this machine has none.
static enum cr_status tell_done(const struct cr_server *server)
{
    const char *directory = server->config->tuning.output_dir;
    unsigned char key[CR_SHA256_SIZE];
    char owner[CR_SHA256_HEX_SIZE];
    CR_FREE char *file = NULL;
    CR_CLEANUP(cr_buffer_release) struct cr_buffer kept = {0};
    struct cr_event_field fields[3];
    size_t count = 0;
    if (!server->split) fields[count++] = CR_FIELD("rounds", server->config->federation.rounds);
    switch (server->config->federation.release) {
    case CR_RELEASE_OWNER:
        CR_TRY(cr_path_join(directory, CR_RELEASED_FILE, &file));
        CR_TRY(cr_identity_point_digest(server->manifest.owner, key));
        cr_sha256_hex(key, owner);
        fields[count++] = CR_FIELD_TEXT("output", file);
        fields[count++] = CR_FIELD_TEXT("owner", owner);
        break;
    case CR_RELEASE_SEALED:
        CR_TRY(cr_append_format(&kept, "%s, sealed and released to nobody", server->state->path));
        fields[count++] = CR_FIELD_TEXT("output", cr_buffer_text(&kept));
        break;
    case CR_RELEASE_SILOS:
        break;
    default:
        fields[count++] = CR_FIELD_TEXT("output", directory);
    }
    cr_event_send(server->sink, CR_EVENT_INFO, "server.done", NULL, fields, count);
    return CR_OK;
}

enum cr_status cr_server_saved(struct cr_server *server)
{
    int release = server->config->federation.release;
    if (release != CR_RELEASE_SILOS && release != CR_RELEASE_SEALED) CR_TRY(cr_state_deliver(server->state));
    CR_TRY(tell_done(server));
    server->finishing = server->saved = true;
    server->finishing_since = cr_clock_monotonic();
    for (size_t i = 0; i < CR_SILOS; i++)
        if (server->by_silo[i] && !server->split) CR_TRY(cr_server_tell_finished(server->by_silo[i]));
    return CR_OK;
}

enum cr_status cr_server_take_job(struct cr_server *server)
{
    enum cr_status status;
    if (!cr_job_take(server->job, &status)) return CR_OK;
    enum cr_server_task task = server->task;
    server->task = CR_SERVER_IDLE;
    if (task == CR_SERVER_FOLDING) return folded(server, status);
    CR_TRY(status);
    return task == CR_SERVER_STORING ? cr_server_close_round(server) : cr_server_saved(server);
}
