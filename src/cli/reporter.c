#include "cli/reporter.h"

#include "cli/command.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

static void receive(void *context, const struct cr_event *event)
{
    struct cr_reporter *reporter = context;
    const char *settings = cr_event_text(event, "settings");
    if (settings && strcmp(event->name, "client.job") == 0)
        cr_run_dir_settings(reporter->run, cr_slice_of_string(settings));
    cr_run_dir_take(reporter->run, event);
    // Last, so that everything the user saw is in the files.
    struct cr_event_sink progress = cr_progress_sink(&reporter->progress);
    progress.receive(progress.context, event);
}

enum cr_status cr_reporter_open(struct cr_reporter *reporter, const char *command, bool json, const char *of)
{
    CR_FREE char *path = NULL;
    CR_TRY(cr_run_dir_path(of, &path));
    cr_progress_init(&reporter->progress, json);
    reporter->progress.live = reporter->progress.live && cr_command_is_screen(STDERR_FILENO);
    struct cr_event_sink warnings = cr_progress_sink(&reporter->progress);
    enum cr_status status = cr_run_dir_open(path, command, &warnings, &reporter->run);
    if (status != CR_OK) return cr_progress_end(&reporter->progress, status);
    cr_progress_never_wait(&reporter->progress);
    return CR_OK;
}

struct cr_event_sink cr_reporter_sink(struct cr_reporter *reporter)
{
    return (struct cr_event_sink){receive, reporter};
}

enum cr_status cr_reporter_close(struct cr_reporter *reporter, enum cr_status status)
{
    struct cr_progress *progress = &reporter->progress;
    cr_progress_tick(progress);
    if (progress->broken) status = cr_progress_end(progress, status);
    char why[1024] = "";
    if (status != CR_OK) snprintf(why, sizeof why, "%s", cr_error_message());
    cr_run_dir_close(reporter->run, cr_exit_code(status), status == CR_OK ? NULL : why);
    if (status != CR_OK) (void)cr_fail(status, "%s", why);
    return cr_progress_end(progress, status); // this waits for a reader that has not read everything
}
