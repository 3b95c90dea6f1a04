// A silo's rounds: it pulls the start values, trains, stores the update, and sends it when the server asks.
#include "federation/client_parts.h"

#include "federation/discretion.h"

#include <string.h>
#include <unistd.h>

enum { PULLS_AHEAD = 2 };
static const double progress_seconds = 1;

static enum cr_status send_trained(struct cr_client *client)
{
    const struct cr_answer *answer = &client->state->answer;
    struct cr_message trained = {
        .type = CR_FRAME_TRAINED,
        .trained = {.round = answer->round, .labelled = answer->labelled, .loss_sum = answer->loss_sum}};
    memcpy(trained.trained.start, answer->start, CR_SHA256_SIZE);
    memcpy(trained.trained.digest, answer->digest, CR_SHA256_SIZE);
    return cr_client_say(client, &trained);
}

// Requests the next pieces of the start values, a few ahead so that the network is never idle.
static enum cr_status pull(struct cr_client *client)
{
    while (client->asked < client->count && client->asked - client->pulled < PULLS_AHEAD * (size_t)CR_CHUNK) {
        size_t left = client->count - client->asked;
        size_t count = left < CR_CHUNK ? left : CR_CHUNK;
        struct cr_message message = {
            .type = CR_FRAME_PULL, .pull = {.round = client->round, .first = client->asked, .count = count}};
        CR_TRY(cr_client_say(client, &message));
        client->asked += count;
    }
    return CR_OK;
}

static enum cr_status begin_round(struct cr_client *client)
{
    cr_vector_release(client->incoming);
    client->incoming = NULL;
    CR_TRY(cr_vector_new(client->count, &client->incoming));
    client->incoming->again = true;
    client->pulled = client->asked = 0;
    if (client->final) return pull(client);
    cr_emit(client->sink, CR_EVENT_INFO, "client.round", NULL, CR_FIELD("round", client->round + 1),
            CR_FIELD("rounds", client->config.federation.rounds));
    return pull(client);
}

// Makes this the current round. Training of another round is abandoned.
static enum cr_status go_to_round(struct cr_client *client, uint64_t round,
                                  const unsigned char start[CR_SHA256_SIZE])
{
    bool same = client->begun && client->round == round && memcmp(client->start, start, CR_SHA256_SIZE) == 0;
    client->begun = true;
    client->round = round;
    memcpy(client->start, start, CR_SHA256_SIZE);
    if (!client->training) return begin_round(client);
    // If the same round is announced twice, as after a reconnection, an earlier request to stop stays in
    // force.
    if (same) return CR_OK;
    client->restart = true;
    cr_worker_cancel(client->worker);
    return CR_OK;
}

// Stores what the server announced before acting on it. An older announcement than the stored one is refused.
static enum cr_status see(struct cr_client *client, uint64_t round, const unsigned char start[CR_SHA256_SIZE],
                          const unsigned char receipt[CR_RECEIPT_SIZE])
{
    struct cr_client_state *state = client->state;
    struct cr_seen seen = {.round = round};
    memcpy(seen.run, client->run, CR_SHA256_SIZE);
    memcpy(seen.start, start, CR_SHA256_SIZE);
    memcpy(seen.receipt, receipt, CR_RECEIPT_SIZE);
    if (state->has_seen) CR_TRY(cr_seen_follow(&state->seen, &seen));
    if (state->has_seen && state->seen.round == round) return CR_OK;
    return cr_client_state_see(state, &seen);
}

enum cr_status cr_client_on_begin(struct cr_client *client, const struct cr_message *message)
{
    uint64_t round = message->begin.round;
    if (!client->ready_sent || message->begin.count != client->count ||
        round >= client->config.federation.rounds)
        return cr_fail(CR_PROTOCOL, "the server begins a round that is not of this job");
    CR_TRY(cr_connection_appraise_again(client->connection, round + 1));
    CR_TRY(see(client, round, message->begin.start, message->begin.receipt));
    cr_client_gets_on(client);
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

// All start values have arrived: trains on them or, after the last round, saves them as the result.
static enum cr_status use_values(struct cr_client *client)
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
    struct cr_training_task task = {
        .reset_optimizer = reset, .again = client->unwanted, .start = client->incoming};
    cr_learner_share(client->total_steps, client->round, client->config.federation.rounds, &task.first,
                     &task.last);
    cr_free(&client->worker_state);
    CR_TRY(cr_client_state_trainer(client->state, client->round, &client->worker_state));
    task.state = client->worker_state;
    cr_free(&client->kept_state);
    if (client->state->has_answer)
        CR_TRY(cr_client_state_trainer(client->state, client->state->answer.round, &client->kept_state));
    task.back = client->kept_state;
    client->unwanted = false;
    client->progress_at = 0; // report progress of this round at once
    cr_worker_train(client->worker, &task);
    return CR_OK;
}

enum cr_status cr_client_on_values(struct cr_client *client, const struct cr_message *message)
{
    // Values that were requested before a reconnection or another Begin are ignored; they are no error.
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

enum cr_status cr_client_on_pull(struct cr_client *client, const struct cr_message *message)
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

enum cr_status cr_client_done(struct cr_client *client)
{
    static const char *const places[] = {
        [CR_RELEASE_ALL] = "the server's output_dir",
        [CR_RELEASE_SERVER] = "the server's output_dir",
        [CR_RELEASE_SILOS] = "the --output of silos that asked for it",
        [CR_RELEASE_OWNER] = "the server's output_dir, encrypted to the job's owner",
        [CR_RELEASE_SEALED] = "the server's state, sealed and released to nobody",
    };
    const char *output = client->options->output;
    cr_emit(client->sink, CR_EVENT_INFO, "client.done", NULL,
            CR_FIELD("rounds", client->config.federation.rounds),
            CR_FIELD_TEXT("output", output ? output : places[client->config.federation.release]));
    client->status = CR_OK;
    client->ended = true;
    if (client->connection) cr_connection_close(client->connection);
    return CR_OK;
}

enum cr_status cr_client_on_finished(struct cr_client *client, const struct cr_message *message)
{
    if (!client->ready_sent || message->finished.rounds != client->config.federation.rounds)
        return cr_fail(CR_PROTOCOL, "the server ends a run that is not of this job");
    CR_TRY(see(client, message->finished.rounds, message->finished.digest, message->finished.receipt));
    cr_client_gets_on(client);
    if (!client->options->output) return cr_client_done(client);
    client->final = true;
    return go_to_round(client, message->finished.rounds, message->finished.digest);
}

static enum cr_status trained(struct cr_client *client, const struct cr_worker_result *result)
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

// If the state cannot be used, the message says what to remove: without its last answer a silo trains what
// the server asks for.
static enum cr_status failed(const struct cr_client *client, const struct cr_worker_result *result)
{
    if (result->of_state)
        return cr_fail(
            result->status,
            "%s; remove it and %s/update.sealed to join without it: an answer that the server has not "
            "taken is trained anew, and what the optimiser had gathered is lost",
            result->why, client->state->path);
    bool of_job =
        result->work == CR_WORK_OPEN && (result->status == CR_INVALID || result->status == CR_UNSUPPORTED);
    return cr_fail(result->status, "%s%s", of_job ? "with the job's settings: " : "", result->why);
}

static enum cr_status take(struct cr_client *client, const struct cr_worker_result *result)
{
    // If the model is not the job's, that is reported, whatever else failed because of it.
    if (result->has_base)
        CR_TRY(cr_client_check_base(&client->state->manifest, client->config.tuning.model_name_or_path,
                                    &result->base));
    if (result->status != CR_OK) return failed(client, result);
    if (result->work == CR_WORK_OPEN) return cr_client_opened(client, result);
    if (result->work == CR_WORK_TRAIN) return trained(client, result);
    CR_TRY(cr_client_state_fetch(client->state, client->options->output));
    return cr_client_done(client);
}

// A round closed without this silo. Removes the learner's state after it, unless the last answer uses the
// same file.
static void drop_state(const struct cr_client *client)
{
    CR_FREE char *kept = NULL;
    const struct cr_client_state *state = client->state;
    if (state->has_answer && (cr_client_state_trainer(state, state->answer.round, &kept) != CR_OK ||
                              strcmp(kept, client->worker_state) == 0))
        return;
    unlink(client->worker_state);
}

// Another round has begun meanwhile, so this result is not used.
static enum cr_status take_other(struct cr_client *client, const struct cr_worker_result *result)
{
    client->restart = false;
    // The optimiser's moments of that round are discarded too, as if this silo had been killed.
    client->unwanted = result->work == CR_WORK_TRAIN;
    if (client->unwanted) drop_state(client);
    return client->ready_sent ? begin_round(client) : CR_OK;
}

enum cr_status cr_client_take_result(struct cr_client *client)
{
    struct cr_worker_result result;
    if (!cr_worker_take(client->worker, &result)) return CR_OK;
    client->training = false;
    cr_vector_release(client->incoming); // the learner has a copy
    client->incoming = NULL;
    enum cr_status status = client->restart ? take_other(client, &result) : take(client, &result);
    cr_vector_release(result.update);
    return status;
}

enum cr_status cr_client_show_progress(struct cr_client *client, double now)
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
    return cr_client_say(client, &message);
}
