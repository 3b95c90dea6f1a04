// carrel tune, serve and join: starts carrel-enclave in that role and shows what it does.
#include "cli/child.h"
#include "cli/command.h"
#include "federation/progress.h"
#include "federation/role_options.h"

#include <signal.h>
#include <string.h>
#include <unistd.h>

enum { POLL_MILLISECONDS = 200 };

static void close_fd(int *fd)
{
    if (*fd >= 0) close(*fd);
}

static enum cr_status show(void *context, const struct cr_event *event)
{
    struct cr_event_sink sink = cr_progress_sink(context);
    sink.receive(sink.context, event);
    return CR_OK;
}

// Until the child has nothing more to say.
static enum cr_status watch(struct cr_child *child, struct cr_progress *progress)
{
    bool stopping = false;
    for (enum cr_child_news news = CR_CHILD_QUIET; news != CR_CHILD_ENDED;) {
        CR_TRY(cr_child_read(child, POLL_MILLISECONDS, show, progress, &news));
        int number = cr_child_signal();
        // Where nobody hears the events any more, the work ends as it does at a signal.
        if (number == 0 && progress->broken) number = SIGTERM;
        if (number != 0 && !stopping) cr_child_pass_on(child, number);
        stopping = number != 0;
    }
    return CR_OK;
}

// The arguments are the person's, but that the events come as JSON, and that a token comes through a pipe.
static enum cr_status start(int argc, char **argv, const struct cr_role_options *options, int input,
                            struct cr_child *child)
{
    CR_FREE const char **arguments = NULL;
    CR_TRY(cr_allocate((size_t)argc + 2, sizeof *arguments, &arguments));
    size_t count = 0;
    arguments[count++] = argv[0];
    if (!options->json) arguments[count++] = "--json";
    for (int i = 1; i < argc; i++) arguments[count++] = argv[i] == options->client.token ? "-" : argv[i];
    return cr_child_start(arguments, input, -1, child);
}

static enum cr_status run(int argc, char **argv, const struct cr_role_options *options, int input)
{
    CR_CLEANUP(cr_child_release) struct cr_child child = CR_CHILD_NONE;
    struct cr_progress progress;
    cr_child_catch_signals();
    CR_TRY(start(argc, argv, options, input, &child));
    cr_progress_init(&progress, options->json);
    enum cr_status status = watch(&child, &progress);
    if (status != CR_OK) {
        cr_child_stop(&child);
        return cr_progress_end(&progress, status);
    }
    cr_child_reap(&child, true);
    status = cr_child_result(&child);
    return cr_progress_end(&progress, status);
}

static enum cr_status join(int argc, char **argv, const struct cr_role_options *options)
{
    char token[CR_TOKEN_LIMIT];
    CR_TRY(cr_role_options_token(argc, argv, options->client.token, token));
    CR_CLEANUP(close_fd) int input = -1;
    enum cr_status status = cr_child_pipe_line(token, &input);
    cr_wipe(token, sizeof token);
    return status == CR_OK ? run(argc, argv, options, input) : status;
}

enum cr_status cr_command_run(int argc, char **argv)
{
    CR_CLEANUP(cr_buffer_release) struct cr_buffer help = {0};
    struct cr_role_options options;
    CR_TRY(cr_role_options_parse(argc, argv, &options, &help));
    if (help.size > 0) return cr_command_print(cr_buffer_slice(&help));
    return options.config ? run(argc, argv, &options, -1) : join(argc, argv, &options);
}
