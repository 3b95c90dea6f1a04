// carrel tune, serve and join: starts carrel-enclave in that role, shows its events, and records them in a
// run directory.
#include "base/file.h"
#include "cli/child.h"
#include "cli/command.h"
#include "cli/preview.h"
#include "cli/reporter.h"
#include "federation/config.h"
#include "federation/role_options.h"
#include "format/options.h"
#include "model/config.h"
#include "text/rows.h"

#include <signal.h>
#include <stdio.h>

enum { POLL_MILLISECONDS = 200 };

static enum cr_status show(void *context, const struct cr_event *event)
{
    struct cr_event_sink sink = cr_reporter_sink(context);
    sink.receive(sink.context, event);
    return CR_OK;
}

// Runs until the child's output is closed.
static enum cr_status watch(struct cr_child *child, struct cr_reporter *reporter)
{
    bool stopping = false;
    for (enum cr_child_news news = CR_CHILD_QUIET; news != CR_CHILD_ENDED;) {
        CR_TRY(cr_child_read(child, POLL_MILLISECONDS, show, reporter, &news));
        cr_run_dir_tick(reporter->run);
        cr_progress_tick(&reporter->progress);
        int number = cr_child_signal();
        // If nobody reads the events any more, the work ends as at a signal.
        if (number == 0 && reporter->progress.broken) number = SIGTERM;
        if (number != 0 && !stopping) cr_child_pass_on(child, number);
        stopping = number != 0;
    }
    cr_child_reap(child, true);
    return cr_child_result(child);
}

// The arguments are the user's, except that events come as JSON, and a token comes through a pipe.
static enum cr_status start(int argc, char **argv, const struct cr_role_options *options, int input, int lock,
                            struct cr_child *child)
{
    CR_FREE const char **arguments = NULL;
    CR_TRY(cr_allocate((size_t)argc + 2, sizeof *arguments, &arguments));
    size_t count = 0;
    arguments[count++] = argv[0];
    if (!options->json) arguments[count++] = "--json";
    for (int i = 1; i < argc; i++) arguments[count++] = argv[i] == options->client.token ? "-" : argv[i];
    return cr_child_start("carrel-enclave", arguments, (const int[]){input, -1, -1}, lock, child);
}

static enum cr_status run(int argc, char **argv, const struct cr_role_options *options, int input,
                          struct cr_reporter *reporter)
{
    CR_CLEANUP(cr_child_release) struct cr_child child = CR_CHILD_NONE;
    CR_TRY(cr_child_catch_signals());
    CR_TRY(start(argc, argv, options, input, cr_run_dir_lock(reporter->run), &child));
    enum cr_status status = watch(&child, reporter);
    if (child.pid == 0) return status;
    char why[1024];
    snprintf(why, sizeof why, "%s", cr_error_message());
    cr_child_stop(&child);
    return cr_fail(status, "%s", why);
}

// Checked before a token is used up; carrel-enclave opens the files only after it has given up other access.
static enum cr_status check_files(const struct cr_client_options *client)
{
    struct cr_model_config shape;
    CR_CLEANUP(cr_row_reader_close) struct cr_row_reader rows = {0};
    enum cr_status status = cr_model_config_read(client->model, &shape);
    if (status != CR_OK) return cr_fail_within(status, "--model");
    status = cr_row_reader_open(client->data, &rows);
    return status == CR_OK ? CR_OK : cr_fail_within(status, "--data");
}

static enum cr_status join(int argc, char **argv, const struct cr_role_options *options)
{
    char text[CR_TOKEN_LIMIT];
    CR_CLEANUP(cr_token_release) struct cr_token token = {0};
    struct cr_reporter reporter;
    CR_CLEANUP(cr_file_close) int input = -1;
    CR_FREE char *state = NULL;
    CR_TRY(check_files(&options->client));
    CR_TRY(cr_role_options_token(argc, argv, options->client.token, text));
    enum cr_status status = cr_token_parse(text, &token);
    if (status == CR_OK) status = cr_child_pipe_line(text, &input);
    cr_wipe(text, sizeof text);
    CR_TRY(status);
    CR_TRY(cr_client_state_path(&options->client, &token, &state));
    cr_token_release(&token); // not kept during a long run
    CR_TRY(cr_reporter_open(&reporter, argv[0], options->json, state));
    return cr_reporter_close(&reporter, run(argc, argv, options, input, &reporter));
}

static enum cr_status run_config(int argc, char **argv, const struct cr_role_options *options)
{
    struct cr_reporter reporter;
    CR_CLEANUP(cr_config_release) struct cr_config config = {0};
    CR_CLEANUP(cr_buffer_release) struct cr_buffer settings = {0};
    CR_TRY(cr_config_read_with(options->config, options->overrides.items, options->overrides.count, &config));
    CR_TRY(cr_options_write(&cr_config_table, &config, &settings));
    CR_TRY(cr_reporter_open(&reporter, argv[0], options->json, config.tuning.output_dir));
    cr_run_dir_settings(reporter.run, cr_buffer_slice(&settings));
    return cr_reporter_close(&reporter, run(argc, argv, options, -1, &reporter));
}

enum cr_status cr_command_run(int argc, char **argv)
{
    CR_CLEANUP(cr_buffer_release) struct cr_buffer help = {0};
    struct cr_role_options options;
    CR_TRY(cr_role_options_parse(argc, argv, &options, &help));
    if (help.size > 0) return cr_command_print(cr_buffer_slice(&help));
    if (options.preview) return cr_preview(&options);
    return options.config ? run_config(argc, argv, &options) : join(argc, argv, &options);
}
