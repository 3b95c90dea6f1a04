#include "enclave/role.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/flags.h"
#include "enclave/resume.h"
#include "federation/client.h"
#include "federation/progress.h"
#include "federation/server.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { OVERRIDES = 64, TOKEN_LIMIT = 1024 };

static volatile sig_atomic_t stopped;

static void on_signal(int number)
{
    (void)number;
    stopped = 1;
}

enum cr_status cr_role_catch_signals(void)
{
    // SA_RESETHAND: the second signal does what it does by default.
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND | SA_RESTART};
    sigemptyset(&action.sa_mask);
    if (sigaction(SIGINT, &action, NULL) != 0 || sigaction(SIGTERM, &action, NULL) != 0)
        return cr_fail_errno(CR_INTERNAL, "signals cannot be caught");
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN); // a file over the process's limit is a failed write, told as one
    return CR_OK;
}

static bool keep_going(void *context)
{
    const struct cr_progress *progress = context;
    return !stopped && !progress->broken;
}

static enum cr_status print_help(const struct cr_flags *flags)
{
    CR_CLEANUP(cr_buffer_release) struct cr_buffer text = {0};
    CR_TRY(cr_flags_help(flags, &text));
    if (fwrite(text.data, 1, text.size, stdout) != text.size || fflush(stdout) != 0)
        return cr_fail_errno(CR_IO, "standard output");
    return CR_OK;
}

static enum cr_status parse(const struct cr_flags *flags, int argc, char **argv, const char **positional,
                            bool *done)
{
    size_t count;
    CR_TRY(cr_flags_parse(flags, argc, argv, positional, &count, done));
    return *done ? print_help(flags) : CR_OK;
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
    CR_TRY(cr_resume_run(&resume, &tally));
    CR_TRY(cr_trainer_save(trainer, config->tuning.output_dir));
    CR_TRY(cr_resume_end(&resume));
    struct cr_tally held_out = {0};
    if (config->tuning.data.eval) CR_TRY(cr_trainer_evaluate(trainer, config->tuning.data.eval, &held_out));
    cr_emit(&sink, CR_EVENT_INFO, "tune.done", NULL, CR_FIELD_TEXT("output", config->tuning.output_dir),
            CR_FIELD("steps", tally.steps), CR_FIELD("loss", tally.loss_sum / (double)tally.labelled),
            CR_FIELD("seconds", cr_clock_monotonic() - began));
    return CR_OK;
}

// Before the work, not after it, is the time to learn that the result has no place.
static enum cr_status make_place_of_result(const char *directory)
{
    enum cr_status status = cr_directory_make(directory, true);
    if (status != CR_OK) return cr_fail_within(status, "output_dir");
    if (access(directory, W_OK) != 0)
        return cr_fail_errno(CR_IO, "output_dir: %s: cannot be written", directory);
    return CR_OK;
}

static enum cr_status tune(const struct cr_config *config, struct cr_progress *progress, bool restart)
{
    if (!config->tuning.data.train)
        return cr_fail(CR_INVALID, "data.train: not given: what is to be learned?");
    CR_TRY(make_place_of_result(config->tuning.output_dir));
    if (config->tuning.data.eval && !cr_file_exists(config->tuning.data.eval))
        return cr_fail(CR_NOT_FOUND, "data.eval: %s does not exist", config->tuning.data.eval);
    struct cr_event_sink sink = cr_progress_sink(progress);
    struct cr_compute *compute;
    CR_TRY(cr_compute_new(config->tuning.threads, &compute));
    struct cr_trainer *trainer = NULL;
    enum cr_status status = cr_trainer_new(&config->tuning, compute, &sink, &trainer);
    if (status == CR_OK) status = train(trainer, config, progress, restart);
    cr_trainer_free(trainer);
    cr_compute_free(compute);
    return status;
}

static enum cr_status serve(const struct cr_config *config, struct cr_progress *progress, bool restart)
{
    (void)restart; // not among its flags
    CR_TRY(make_place_of_result(config->tuning.output_dir));
    struct cr_event_sink sink = cr_progress_sink(progress);
    return cr_server_run(config, &cr_learner_tuning, &sink, keep_going, progress);
}

// tune and serve: one file of settings, and the same flags but for --restart.
static enum cr_status
run_config(const char *usage, const char *summary, bool may_restart, int argc, char **argv,
           enum cr_status (*run)(const struct cr_config *config, struct cr_progress *progress, bool restart))
{
    const char *items[OVERRIDES], *path;
    struct cr_flag_list overrides = {.items = items, .capacity = OVERRIDES};
    bool json = false, restart = false, done;
    const struct cr_flag flag_items[] = {
        {"set", CR_FLAG_STRINGS, &overrides, "KEY=VALUE", "override one setting; may be given several times"},
        {"json", CR_FLAG_BOOL, &json, NULL, "progress as JSON lines on stdout"},
        {"restart", CR_FLAG_BOOL, &restart, NULL, "begin at the first step, whatever state is kept"},
    };
    size_t flag_count = sizeof flag_items / sizeof *flag_items - (may_restart ? 0 : 1);
    const struct cr_flags flags = {usage, summary, flag_items, flag_count, 1, 1};
    CR_TRY(parse(&flags, argc, argv, &path, &done));
    if (done) return CR_OK;
    struct cr_config config;
    CR_TRY(cr_config_read_with(path, overrides.items, overrides.count, &config));
    struct cr_progress progress;
    cr_progress_init(&progress, json);
    enum cr_status status = run(&config, &progress, restart);
    status = cr_progress_end(&progress, status);
    cr_config_release(&config);
    return status;
}

enum cr_status cr_role_tune(int argc, char **argv)
{
    return run_config("carrel tune CONFIG [options]",
                      "Fine-tunes a model on this machine's data and writes the result to output_dir.\n"
                      "Stopped or killed, it goes on from the state in output_dir when it is started again.",
                      true, argc, argv, tune);
}

enum cr_status cr_role_serve(int argc, char **argv)
{
    return run_config(
        "carrel serve CONFIG [options]",
        "Runs the server of a federation until its last round is done, and writes the result to "
        "output_dir.\nStopped or killed, it goes on from federation.state_dir when it is started "
        "again.",
        false, argc, argv, serve);
}

// "-": the first line of standard input, which no list of processes shows.
static enum cr_status read_token(const char *argument, char out[TOKEN_LIMIT])
{
    if (strcmp(argument, "-") != 0) {
        if (strlen(argument) >= TOKEN_LIMIT) return cr_fail(CR_INVALID, "that is no join token: too long");
        strcpy(out, argument);
        return CR_OK;
    }
    setvbuf(stdin, NULL, _IONBF, 0); // no copy of it stays
    if (!fgets(out, TOKEN_LIMIT, stdin)) return cr_fail(CR_IO, "standard input: no join token came");
    out[strcspn(out, "\r\n")] = 0;
    return CR_OK;
}

// The list of processes is for everyone to read, and a token is a secret.
static void hide(int argc, char **argv, const char *argument)
{
    for (int i = 0; i < argc; i++)
        if (argv[i] == argument) memset(argv[i], '-', strlen(argv[i]));
}

enum cr_status cr_role_join(int argc, char **argv)
{
    struct cr_client_options options = {0};
    const char *argument;
    char token[TOKEN_LIMIT];
    bool json = false, done;
    const struct cr_flag items[] = {
        {"state", CR_FLAG_STRING, &options.state, "DIR",
         "the silo's identity and state (carrel-silo-NAME, by the token's name)"},
        {"model", CR_FLAG_STRING, &options.model, "DIR", "the base model here (the job's path)"},
        {"data", CR_FLAG_STRING, &options.data, "FILE", "the silo's training data (the job's path)"},
        {"output", CR_FLAG_STRING, &options.output, "DIR", "where to write the federation's result here too"},
        {"threads", CR_FLAG_SIZE, &options.threads, "N", "threads that compute; 0, the default: all"},
        {"json", CR_FLAG_BOOL, &json, NULL, "progress as JSON lines on stdout"},
    };
    const struct cr_flags flags = {
        "carrel join TOKEN [options]",
        "Takes part in a federation with a join token (`carrel invite` makes one); - reads it from standard "
        "input.\nStopped or killed, it goes on when it is started again with the same token and --state.",
        items,
        sizeof items / sizeof *items,
        1,
        1};
    CR_TRY(parse(&flags, argc, argv, &argument, &done));
    if (done) return CR_OK;
    CR_TRY(read_token(argument, token));
    hide(argc, argv, argument);
    options.token = token;
    struct cr_progress progress;
    cr_progress_init(&progress, json);
    struct cr_event_sink sink = cr_progress_sink(&progress);
    enum cr_status status = cr_client_run(&options, &cr_learner_tuning, &sink, keep_going, &progress);
    status = cr_progress_end(&progress, status);
    explicit_bzero(token, sizeof token);
    return status;
}
