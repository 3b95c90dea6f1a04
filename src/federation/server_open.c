// Opens all that a server needs before it admits anybody (state, job, seed, learner, attestation), and closes
// it.
#include "base/clock.h"
#include "base/file.h"
#include "federation/discretion.h"
#include "federation/server_manifest.h"
#include "federation/server_parts.h"
#include "federation/split_server.h"

#include <stdlib.h>
#include <string.h>

enum cr_status cr_server_open_learner(const struct cr_server *server, const struct cr_event_sink *sink,
                                      void **out)
{
    struct cr_config own = *server->config; // a shallow copy: the strings belong to the original
    own.tuning.data.train = own.tuning.data.eval = NULL;
    own.tuning.seed = server->seed;
    // A split model's server can choose by gradients only once it has activations. Until then a random choice
    // lets all other settings be tried, before silos send anything.
    if (cr_tuning_config_split(&own.tuning) && cr_spf_calibrates(&own.tuning.spf))
        own.tuning.spf.criterion = CR_SPF_RANDOM;
    enum cr_status status = server->kind->open(&own, sink, out);
    cr_wipe(&own, sizeof own); // the seed
    return status;
}

static enum cr_status tell_job(const struct cr_server *server)
{
    unsigned char key[CR_SHA256_SIZE];
    char job[CR_SHA256_HEX_SIZE], owner[CR_SHA256_HEX_SIZE];
    CR_TRY(cr_identity_point_digest(server->manifest.owner, key));
    cr_sha256_hex(key, owner);
    cr_sha256_hex(server->manifest.digest, job);
    bool own = !server->config->federation.job;
    cr_emit(server->sink, CR_EVENT_INFO, "server.job",
            own ? "this server itself: whoever runs it is the job's owner" : owner, CR_FIELD_TEXT("job", job),
            CR_FIELD_TEXT("owner", owner));
    return CR_OK;
}

static void tell_idle(const struct cr_server *server)
{
    const char *of_steps = cr_config_idle_max_steps(server->config);
    const char *of_epochs = cr_config_idle_epochs(server->config);
    const char *of_data = cr_config_idle_data(server->config);
    const struct cr_training_config *training = &server->config->tuning.training;
    if (of_steps)
        cr_emit(server->sink, CR_EVENT_WARNING, "server.warning", of_steps,
                CR_FIELD("max_steps", training->max_steps));
    if (of_epochs)
        cr_emit(server->sink, CR_EVENT_WARNING, "server.warning", of_epochs,
                CR_FIELD("num_train_epochs", training->num_train_epochs));
    if (of_data) cr_event_send(server->sink, CR_EVENT_WARNING, "server.warning", of_data, NULL, 0);
}

// Warns if this machine's clock is outside the CA's validity: silos that are refused for that reason are told
// only about their own clock. The clock may be corrected while the server runs, so this is no failure.
static void tell_clock(const struct cr_server *server)
{
    CR_CLEANUP(cr_buffer_release) struct cr_buffer message = {0};
    const void *authority = cr_identity_certificate(server->state->authority);
    if (cr_certificate_check_time(authority, cr_clock_unix()) == CR_OK) return;
    if (cr_append_format(
            &message,
            "%s/authority: the federation's CA: %s; while that is so, no silo can be here (if the "
            "clock was wrong when the CA was made, choose another federation.state_dir)",
            server->state->path, cr_error_message()) == CR_OK)
        cr_event_send(server->sink, CR_EVENT_WARNING, "server.warning", cr_buffer_text(&message), NULL, 0);
}

// Appends how the job of the run on disk differs from this server's, in words; nothing if that is not known.
static enum cr_status append_difference(const struct cr_server *server, struct cr_buffer *out)
{
    CR_FREE char *path = NULL;
    CR_CLEANUP(cr_manifest_release) struct cr_manifest kept = {0};
    CR_TRY(cr_path_join(server->state->path, CR_STATE_RUN_JOB, &path));
    if (cr_manifest_read(path, &kept, NULL) != CR_OK ||
        memcmp(kept.digest, server->state->job, CR_SHA256_SIZE) != 0)
        return CR_OK;
    if (!server->config->federation.job) // in a job that the server signs, the version is ignored
        memcpy(kept.version, server->manifest.version, sizeof kept.version);
    CR_TRY(cr_append_format(out, ": "));
    return cr_manifest_difference(&kept, &server->manifest, out);
}

static enum cr_status refuse_other_run(const struct cr_server *server, const char *what, const char *advice)
{
    CR_CLEANUP(cr_buffer_release) struct cr_buffer difference = {0};
    CR_TRY(append_difference(server, &difference));
    return cr_fail(CR_INVALID, "%s: holds %s%s (%s, or choose another federation.state_dir)",
                   server->state->path, what, cr_buffer_text(&difference), advice);
}

// Continues the run on disk, or begins a new one from the learner's values.
static enum cr_status open_run_with(struct cr_server *server, void *learner)
{
    struct cr_base_digest base;
    CR_TRY(server->kind->digest(learner, server->structure));
    CR_TRY(server->kind->base(learner, &base));
    CR_TRY(cr_server_manifest(server->config, &base, &server->manifest, &server->manifest_form));
    const char *path = server->config->federation.job;
    if (path && memcmp(server->manifest.digest, server->owners_job, CR_SHA256_SIZE) != 0)
        return cr_fail(CR_INVALID, "%s: it was changed while the server started", path);
    CR_TRY(tell_job(server));
    tell_idle(server);
    const unsigned char *job = server->manifest.digest;
    struct cr_state_dir *state = server->state;
    size_t count;
    const float *initial = server->kind->values(learner, &count);
    bool same = state->begun && memcmp(state->job, job, CR_SHA256_SIZE) == 0;
    if (state->begun && !state->finished && !same)
        return refuse_other_run(server, "an unfinished run with other settings or another model",
                                "finish it with its own settings");
    if (state->begun && !state->delivered && !same)
        return refuse_other_run(server, "a result that is nowhere else",
                                "start the server with that run's own settings to have it delivered");
    CR_TRY(cr_directory_write(state->path, CR_STATE_RUN_JOB, cr_buffer_slice(&server->manifest_form), true));
    if (same) {
        // The number of values in a split model's trained tail may depend on the data.
        bool ended = cr_tuning_config_split(&server->config->tuning) && state->finished;
        if (!ended && state->count != count) return cr_fail(CR_INVALID, "%s: not of this model", state->path);
        return cr_state_values(state, &server->global);
    }
    CR_TRY(cr_vector_new(count, &server->global));
    memcpy(server->global->values, initial, count * sizeof *initial);
    return cr_state_begin(state, job, server->global);
}

// Reads the owner's job before the model is opened, because the seed depends on it. Whether it is meant for
// this server is checked later, with the model.
static enum cr_status read_owners_job(struct cr_server *server)
{
    const char *path = server->config->federation.job;
    CR_CLEANUP(cr_manifest_release) struct cr_manifest manifest = {0};
    if (!path) return CR_OK;
    CR_TRY(cr_manifest_read(path, &manifest, NULL));
    memcpy(server->owners_job, manifest.digest, CR_SHA256_SIZE);
    return CR_OK;
}

static enum cr_status choose_seed(struct cr_server *server)
{
    unsigned char secret[CR_SEED_SECRET_SIZE];
    server->seed = server->config->tuning.seed;
    if (!cr_tuning_config_sliced(&server->config->tuning)) return CR_OK;
    CR_TRY(cr_state_seed_secret(server->state, server->owners_job, secret));
    enum cr_status status = cr_discretion_seed(secret, server->seed, &server->seed);
    cr_wipe(secret, sizeof secret);
    return status;
}

static enum cr_status open_run(struct cr_server *server)
{
    void *learner;
    CR_TRY(cr_server_open_learner(server, server->sink, &learner));
    enum cr_status status = open_run_with(server, learner);
    server->kind->free(learner); // not needed until the result is saved; frees its memory
    return status;
}

enum cr_status cr_server_open(struct cr_server *server)
{
    const struct cr_federation_config *federation = &server->config->federation;
    CR_TRY(cr_discretion_check(server->config));
    if (cr_tuning_config_split(&server->config->tuning)) // then the server trains, not the silos
        CR_TRY(cr_tuning_config_check_accelerators(&server->config->tuning));
    CR_TRY(cr_state_open(federation->state_dir, server->key, &server->state));
    tell_clock(server);
    CR_TRY(read_owners_job(server));
    CR_TRY(choose_seed(server));
    CR_TRY(open_run(server));
    struct cr_round_rules rules = {.min_clients = cr_config_min_clients(server->config),
                                   .deadline = federation->deadline,
                                   .absence = federation->progress_timeout};
    cr_round_init(&server->machine, &rules, server->state->round, server->state->digest);
    CR_TRY(cr_loop_new(&server->loop));
    CR_TRY(cr_pool_new(server->config->tuning.threads, &server->pool));
    CR_TRY(cr_job_new(server->loop, &server->job));
    const struct cr_attested_host host = {.attester = cr_config_attester(server->config),
                                          .tpm = server->config->attestation.tpm,
                                          .endorsements = server->config->attestation.endorsements,
                                          .shows = true,
                                          .demands = !cr_tuning_config_split(&server->config->tuning),
                                          .state = server->state->path};
    CR_TRY(cr_attested_open(&server->manifest, &host, server->sink, &server->attested));
    CR_TRY(cr_tls_new_server(server->state->server, &server->tls));
    cr_tls_set_admission(server->tls, cr_attested_admission(server->attested));
    // Must be last: from then on server->sink belongs to the worker that trains, and is freed with it.
    return cr_tuning_config_split(&server->config->tuning) ? cr_split_server_open(server) : CR_OK;
}

void cr_server_close(struct cr_server *server)
{
    while (server->sessions) {
        struct cr_server_session *session = server->sessions;
        server->sessions = session->next;
        cr_connection_free(session->connection);
        free(session);
    }
    cr_listener_free(server->listener);
    cr_split_server_close(server); // before the loop, which its threads wake
    cr_tls_free(server->tls);
    cr_attested_close(server->attested);
    cr_job_free(server->job); // before what the job works on
    cr_pool_free(server->pool);
    cr_loop_free(server->loop);
    cr_aggregate_free(server->aggregate);
    cr_vector_release(server->next);
    cr_vector_release(server->global);
    cr_buffer_release(&server->manifest_form);
    cr_manifest_release(&server->manifest);
    cr_state_close(server->state);
    cr_wipe(server, sizeof *server);
    free(server);
}
