// What the server's job asks of this silo, and whether the silo agrees.
#include "federation/client_parts.h"

#include "base/words.h"
#include "federation/discretion.h"
#include "federation/split_client.h"
#include "tuning/place.h"

#include <string.h>

static enum cr_status put_strings(struct cr_string_list *target, const struct cr_flag_list *values)
{
    CR_TRY(cr_allocate(values->count, sizeof *target->items, &target->items)); // a job has no such list
    for (; target->count < values->count; target->count++)
        CR_TRY(cr_copy_string(values->items[target->count], &target->items[target->count]));
    return CR_OK;
}

// Sends an event with the settings that this silo will use, including its own paths.
static enum cr_status tell_job(const struct cr_client *client)
{
    CR_CLEANUP(cr_buffer_wipe) struct cr_buffer settings = {0};
    struct cr_config told = client->config;                          // shallow: strings are only read
    if (cr_tuning_config_sliced(&told.tuning)) told.tuning.seed = 0; // the seed is the federation's secret
    CR_TRY(cr_options_write(&cr_config_table, &told, &settings));
    cr_emit(client->sink, CR_EVENT_DEBUG, "client.job", NULL,
            CR_FIELD_TEXT("settings", cr_buffer_text(&settings)));
    return CR_OK;
}

// Only the silo decides which accelerator may see its texts, never a job.
static enum cr_status take_own_accelerator(struct cr_client *client)
{
    struct cr_slicing_config *slicing = &client->config.tuning.slicing;
    if (slicing->own_accelerator)
        return cr_fail(CR_PROTOCOL, "the server's job names an accelerator as a silo's own, which only the "
                                    "silo can");
    CR_TRY(cr_replace_string(client->options->own_accelerator, &slicing->own_accelerator));
    if (slicing->clear_front == CR_CLEAR_FRONT_LOCAL && !slicing->own_accelerator)
        return cr_fail(CR_INVALID, "the job's slicing.clear_front: local would show this silo's texts to an "
                                   "accelerator: name one that is the silo's own with --own-accelerator "
                                   "unix:PATH, or do not take part");
    return CR_OK;
}

// A job has only one run. A server that lost its state, and with it what it had told silos, must not start
// another.
static enum cr_status check_run(const struct cr_client *client)
{
    const struct cr_client_state *state = client->state;
    if (!state->has_seen || memcmp(state->seen.run, client->run, CR_SHA256_SIZE) == 0) return CR_OK;
    return cr_fail(
        CR_PROTOCOL,
        "the server went back to an older state: it begins this job anew, and round %llu of it had "
        "been told of (a run that shall forget it takes another --state)",
        (unsigned long long)state->seen.round + 1);
}

// Takes the job's settings, with this silo's own paths, threads and accelerators.
static enum cr_status take_settings(struct cr_client *client, uint64_t seed)
{
    const struct cr_client_options *options = client->options;
    CR_TRY(cr_config_parse_job(client->state->manifest.settings, &client->config));
    client->has_config = true;
    CR_TRY(cr_discretion_check(&client->config));
    struct cr_tuning_config *tuning = &client->config.tuning;
    // In a split model only the server needs a seed and accelerators.
    bool sliced = cr_tuning_config_sliced(tuning) && !cr_tuning_config_split(tuning);
    if (sliced) tuning->seed = client->seed = seed;
    CR_TRY(cr_replace_string(options->model, &tuning->model_name_or_path));
    CR_TRY(cr_replace_string(options->data, &tuning->data.train));
    tuning->threads = options->threads;
    cr_free(&tuning->data.eval); // a silo only trains; our server's jobs have no data.eval
    if (tuning->slicing.accelerators.count > 0)
        return cr_fail(CR_PROTOCOL, "the server's job names an accelerator, which is each silo's own");
    CR_TRY(put_strings(&tuning->slicing.accelerators, &options->accelerators));
    if (sliced && tuning->slicing.accelerators.count == 0)
        return cr_fail(CR_INVALID, "the job's slicing.pads asks for an accelerator: give this silo's with "
                                   "--accelerator ADDRESS");
    CR_TRY(take_own_accelerator(client));
    tuning->scratch_dir = client->state->path;
    if (options->output && !cr_release_gives_silos(client->config.federation.release))
        return cr_fail(CR_INVALID, "--output: the job's federation.release gives silos no result");
    if (options->output) CR_TRY(cr_place_check(options->output, tuning->model_name_or_path, tuning->method));
    if (!cr_tuning_config_split(tuning)) cr_config_apply_rounds(&client->config);
    return CR_OK;
}

static enum cr_status take_job(struct cr_client *client, const struct cr_message *message)
{
    struct cr_client_state *state = client->state;
    memcpy(client->run, message->job.run, CR_SHA256_SIZE);
    client->sealing = cr_client_state_sealing(state, "trainer state");
    CR_TRY(check_run(client));
    CR_TRY(take_settings(client, message->job.seed));
    CR_TRY(tell_job(client));
    client->timeout = client->config.federation.progress_timeout;
    if (cr_tuning_config_split(&client->config.tuning)) return cr_split_client_open(client);
    bool goes_on = state->has_answer && memcmp(state->run, client->run, CR_SHA256_SIZE) == 0;
    if (goes_on) CR_TRY(cr_client_state_trainer(state, state->answer.round, &client->worker_state));
    state->has_answer = goes_on;
    cr_worker_open(client->worker, &client->config, &client->sealing, client->worker_state);
    return CR_OK;
}

static enum cr_status send_ready(struct cr_client *client)
{
    struct cr_message ready = {.type = CR_FRAME_READY, .ready.count = client->count};
    memcpy(ready.ready.structure, client->structure, CR_SHA256_SIZE);
    const struct cr_seen *seen = &client->state->seen;
    if (client->state->has_seen) {
        ready.ready.has_seen = true;
        ready.ready.seen = seen->round;
        memcpy(ready.ready.seen_start, seen->start, CR_SHA256_SIZE);
        memcpy(ready.ready.seen_receipt, seen->receipt, CR_RECEIPT_SIZE);
    }
    CR_TRY(cr_client_say(client, &ready));
    client->ready_sent = true;
    return CR_OK;
}

enum cr_status cr_client_on_job(struct cr_client *client, const struct cr_message *message)
{
    if (!client->manifest_came) return cr_fail(CR_PROTOCOL, "the server began without a signed job");
    if (!client->has_config) {
        CR_TRY(take_job(client, message));
        client->job_came = true;
        cr_connection_set_timeout(client->connection, client->timeout);
        return CR_OK;
    }
    if (memcmp(message->job.run, client->run, CR_SHA256_SIZE) != 0 || message->job.seed != client->seed)
        return cr_fail(CR_PROTOCOL, "the server began another run (start join again)");
    client->job_came = true;
    if (client->split) return cr_split_client_offer(client);
    return client->learner_open ? send_ready(client) : CR_OK;
}

enum cr_status cr_client_opened(struct cr_client *client, const struct cr_worker_result *result)
{
    client->learner_open = true;
    client->count = result->update->count;
    client->total_steps = result->total_steps;
    memcpy(client->structure, result->structure, CR_SHA256_SIZE);
    if (client->total_steps < client->config.federation.rounds)
        return cr_fail(
            CR_INVALID,
            "the data give %zu step%s, fewer than the %zu rounds (a larger federation.local_epochs, "
            "smaller batches or fewer rounds help)",
            client->total_steps, cr_plural(client->total_steps), client->config.federation.rounds);
    CR_TRY(cr_discretion_check_rounds(&client->config, client->total_steps));
    if (client->state->has_answer) {
        if (memcmp(result->digest, client->state->answer.digest, CR_SHA256_SIZE) != 0)
            return cr_fail(CR_INVALID, "%s: does not hold the update that update.sealed names",
                           client->worker_state);
        client->update = cr_vector_hold(result->update);
    }
    return client->job_came ? send_ready(client) : CR_OK;
}
