#include "enclave/role.h"

#include "attestation/attester.h"
#include "attestation/sealing_key.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/secret.h"
#include "base/signals.h"
#include "enclave/harden.h"
#include "enclave/resume.h"
#include "federation/progress.h"
#include "federation/role_options.h"
#include "federation/server.h"
#include "tuning/place.h"

#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

static _Atomic double caught_at[NSIG]; // by signal: monotonic time of the first one in seconds; 0: none yet

// Each signal is counted by itself: `carrel` passes a signal on as another one, sooner or later.
static void on_signal(int number)
{
    double now = cr_clock_monotonic(), first = 0;
    cr_stop_ask();
    if (atomic_compare_exchange_strong(&caught_at[number], &first, now) || now - first <= 1) return;
    cr_signals_end(number);
}

enum cr_status cr_role_catch_signals(void)
{
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN); // exceeding the file size limit is then reported as a failed write
    return cr_signals_catch(on_signal, SA_RESTART);
}

static bool keep_going(void *context)
{
    const struct cr_progress *progress = context;
    return !cr_stop_asked() && !progress->broken;
}

// Reads the command line. *done: it asked for help, which has been printed.
static enum cr_status parse(int argc, char **argv, struct cr_role_options *options, bool *done)
{
    CR_CLEANUP(cr_buffer_release) struct cr_buffer help = {0};
    CR_TRY(cr_role_options_parse(argc, argv, options, &help));
    *done = help.size > 0;
    if (options->preview)
        return cr_fail(CR_UNSUPPORTED, "--preview is for `carrel tune`, which needs no enclave");
    if (!*done) return CR_OK;
    if (fwrite(help.data, 1, help.size, stdout) != help.size || fflush(stdout) != 0)
        return cr_fail_errno(CR_IO, "standard output");
    return CR_OK;
}

static void tell_replaced(const struct cr_tuning_config *config, const struct cr_event_sink *sink)
{
    char sentence[1024];
    if (!cr_place_is_replaced(config->output_dir, config->method, sentence, sizeof sentence)) return;
    cr_emit(sink, CR_EVENT_WARNING, "tune.replaces", sentence,
            CR_FIELD_TEXT("directory", config->output_dir));
}

static enum cr_status train(struct cr_trainer *trainer, const struct cr_config *config,
                            struct cr_progress *progress, bool restart)
{
    struct cr_event_sink sink = cr_progress_sink(progress);
    CR_CLEANUP(cr_resume_release)
    struct cr_resume resume = {.trainer = trainer,
                               .sink = &sink,
                               .config = &config->tuning,
                               .keep_going = keep_going,
                               .context = progress};
    struct cr_tally tally = {0};
    double began = cr_clock_monotonic();
    CR_TRY(cr_resume_begin(&resume, restart));
    tell_replaced(&config->tuning, &sink);
    CR_TRY(cr_resume_run(&resume, &tally));
    enum cr_status status = cr_trainer_save(trainer, config->tuning.output_dir);
    if (status != CR_OK) return status == CR_INVALID ? status : cr_resume_rescue(&resume, status);
    struct cr_tally held_out = {0};
    if (config->tuning.data.eval) {
        status = cr_trainer_evaluate(trainer, &held_out, keep_going, progress);
        if (status != CR_OK) return cr_fail_within(status, "the result is written; data.eval");
    }
    CR_TRY(cr_resume_end(&resume));
    cr_emit(&sink, CR_EVENT_INFO, "tune.done", NULL, CR_FIELD_TEXT("output", config->tuning.output_dir),
            CR_FIELD("steps", tally.steps), CR_FIELD("loss", tally.loss_sum / (double)tally.labelled),
            CR_FIELD("seconds", cr_clock_monotonic() - began));
    return CR_OK;
}

// Makes the directory of the result before the work begins, so that a failure comes early. This run owns the
// directory as long as *place is open.
static enum cr_status make_place_of_result(const char *directory, const char *key, int *place)
{
    enum cr_status status = cr_directory_make(directory, true);
    if (status != CR_OK) return cr_fail_within(status, "%s", key);
    if (access(directory, W_OK) != 0)
        return cr_fail_errno(CR_IO, "%s: %s: cannot be written", key, directory);
    status = cr_place_take(directory, place);
    return status == CR_OK ? CR_OK : cr_fail_within(status, "%s", key);
}

static enum cr_status make_output(const struct cr_tuning_config *config, int *place)
{
    enum cr_status status = cr_place_check(config->output_dir, config->model_name_or_path, config->method);
    if (status != CR_OK) return cr_fail_within(status, "output_dir");
    return make_place_of_result(config->output_dir, "output_dir", place);
}

static enum cr_status tune(const struct cr_config *config, struct cr_progress *progress, bool restart)
{
    if (!config->tuning.data.train)
        return cr_fail(CR_INVALID, "data.train: not given: what is to be learned?");
    CR_CLEANUP(cr_file_close) int place = -1;
    CR_TRY(make_output(&config->tuning, &place));
    struct cr_event_sink sink = cr_progress_sink(progress);
    struct cr_policy policy = {.network = config->tuning.slicing.accelerators.count > 0};
    cr_policy_read(&policy, config->tuning.model_name_or_path);
    cr_policy_read(&policy, config->tuning.data.train);
    cr_policy_read(&policy, config->tuning.data.eval);
    cr_policy_write(&policy, config->tuning.output_dir);
    CR_TRY(cr_harden_role(&policy, &sink));
    CR_CLEANUP(cr_compute_release) struct cr_compute *compute = NULL;
    CR_TRY(cr_compute_new(config->tuning.threads, &compute));
    struct cr_trainer *trainer;
    CR_TRY(cr_trainer_new(&config->tuning, compute, &sink, &trainer));
    enum cr_status status = train(trainer, config, progress, restart);
    cr_trainer_free(trainer);
    return status;
}

// Allows the interfaces of the attesters that `attester` may turn out to mean. Attesters not named here have
// no files.
static void allow_attestation(struct cr_policy *policy, const char *attester, const char *tpm,
                              const char *endorsements)
{
    cr_policy_read(policy, endorsements);
    if (strcmp(attester, "tpm") == 0) {
        cr_policy_write(policy, tpm ? tpm : cr_attester_places.tpm);
        return;
    }
    cr_policy_write(policy, cr_attester_places.gramine);
    cr_policy_write(policy, cr_attester_places.tsm);
}

// Tells the operator which key seals the role's state, with a warning if that key protects nothing.
static void tell_sealing(const struct cr_sealing_key *key, const char *directory,
                         const struct cr_event_sink *sink)
{
    bool development = cr_sealing_key_is_development(key);
    cr_emit(sink, development ? CR_EVENT_WARNING : CR_EVENT_INFO, "enclave.sealing",
            development
                ? "the state is sealed under a development key that lies beside it (sealing.key): whoever "
                  "holds the disk can open it"
                : NULL,
            CR_FIELD_TEXT("source", key->source), CR_FIELD_TEXT("state", directory));
}

// Makes the directory of the role's state. It must be neither the result's nor the model's directory: those
// are given to others, and the state must not be. `key` names the state's setting in messages.
static enum cr_status make_place_of_state(const char *directory, const char *key, const char *output,
                                          const char *model)
{
    CR_TRY(cr_directory_make(directory, true));
    bool of_result = output && cr_place_is_same(directory, output);
    if (!of_result && !cr_place_is_same(directory, model)) return CR_OK;
    return cr_fail(CR_INVALID, "%s: %s is the %s's directory too, and would hold secrets", key, directory,
                   of_result ? "result" : "model");
}

static enum cr_status serve(const struct cr_config *config, struct cr_progress *progress, bool restart)
{
    (void)restart; // not among its flags
    CR_CLEANUP(cr_file_close) int place = -1;
    CR_TRY(make_output(&config->tuning, &place));
    CR_TRY(make_place_of_state(config->federation.state_dir, "federation.state_dir",
                               config->tuning.output_dir, config->tuning.model_name_or_path));
    struct cr_event_sink sink = cr_progress_sink(progress);
    CR_CLEANUP(cr_secret_free) struct cr_sealing_key *key = NULL;
    const struct cr_attestation_config *host = &config->attestation;
    CR_TRY(cr_sealing_key_here(cr_config_sealing(config), host->tpm, config->federation.state_dir, &key));
    struct cr_policy policy = {.network = true};
    cr_policy_read(&policy, config->tuning.model_name_or_path);
    cr_policy_read(&policy, config->federation.job);
    cr_policy_read(&policy, config->federation.appraisal_policy);
    allow_attestation(&policy, cr_config_attester(config), host->tpm, host->endorsements);
    cr_policy_write(&policy, config->tuning.output_dir);
    cr_policy_write(&policy, config->federation.state_dir);
    CR_TRY(cr_harden_role(&policy, &sink));
    tell_sealing(key, config->federation.state_dir, &sink);
    return cr_server_run(config, key, &cr_learner_tuning, &sink, keep_going, progress);
}

static enum cr_status run_config(int argc, char **argv,
                                 enum cr_status (*run)(const struct cr_config *config,
                                                       struct cr_progress *progress, bool restart))
{
    struct cr_role_options options;
    bool done;
    CR_TRY(parse(argc, argv, &options, &done));
    if (done) return CR_OK;
    struct cr_config config;
    CR_TRY(cr_config_read_with(options.config, options.overrides.items, options.overrides.count, &config));
    struct cr_progress progress;
    cr_progress_init(&progress, options.json);
    enum cr_status status = run(&config, &progress, options.restart);
    status = cr_progress_end(&progress, status);
    cr_config_release(&config);
    return status;
}

enum cr_status cr_role_tune(int argc, char **argv)
{
    return run_config(argc, argv, tune);
}

enum cr_status cr_role_serve(int argc, char **argv)
{
    return run_config(argc, argv, serve);
}

static enum cr_status join(struct cr_client_options *options, struct cr_progress *progress)
{
    CR_CLEANUP(cr_token_release) struct cr_token token = {0};
    CR_CLEANUP(cr_file_close) int place = -1;
    CR_FREE char *state = NULL;
    CR_TRY(cr_token_parse(options->token, &token));
    CR_TRY(cr_client_state_path(options, &token, &state));
    if (options->output) CR_TRY(make_place_of_result(options->output, "--output", &place));
    CR_TRY(make_place_of_state(state, "--state", options->output, options->model));
    struct cr_event_sink sink = cr_progress_sink(progress);
    CR_CLEANUP(cr_secret_free) struct cr_sealing_key *key = NULL;
    CR_TRY(cr_sealing_key_here(options->sealing, options->tpm, state, &key));
    options->key = key;
    struct cr_policy policy = {.network = true};
    cr_policy_read(&policy, options->model);
    cr_policy_read(&policy, options->data);
    cr_policy_write(&policy, state);
    cr_policy_write(&policy, options->output);
    allow_attestation(&policy, options->attester ? options->attester : "auto", options->tpm,
                      options->endorsements);
    CR_TRY(cr_harden_role(&policy, &sink));
    tell_sealing(key, state, &sink);
    return cr_client_run(options, &cr_learner_tuning, &sink, keep_going, progress);
}

enum cr_status cr_role_join(int argc, char **argv)
{
    struct cr_role_options options;
    char token[CR_TOKEN_LIMIT];
    bool done;
    CR_TRY(parse(argc, argv, &options, &done));
    if (done) return CR_OK;
    CR_TRY(cr_role_options_token(argc, argv, options.client.token, token));
    options.client.token = token;
    struct cr_progress progress;
    cr_progress_init(&progress, options.json);
    enum cr_status status = cr_progress_end(&progress, join(&options.client, &progress));
    cr_wipe(token, sizeof token);
    return status;
}
