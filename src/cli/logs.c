// carrel logs: prints a run's events as sentences with their times.
#include "cli/command.h"
#include "cli/run_path.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/words.h"
#include "federation/progress.h"
#include "report/events.h"
#include "report/run_lock.h"

#include <string.h>
#include <time.h>

enum { FOLLOW_MILLISECONDS = 200 };

static enum cr_status append_text(struct cr_buffer *out, const char *text)
{
    return cr_append_plain(out, text ? text : "?");
}

static enum cr_status append_sentence(struct cr_buffer *out, const struct cr_event *event)
{
    if (strcmp(event->name, "run.begin") == 0) {
        CR_TRY(cr_append_format(out, "carrel "));
        CR_TRY(append_text(out, cr_event_text(event, "command")));
        CR_TRY(cr_append_format(out, " begins (version "));
        CR_TRY(append_text(out, cr_event_text(event, "version")));
        return cr_append_u8(out, ')');
    }
    if (strcmp(event->name, "run.end") != 0) return cr_event_sentence(event, SIZE_MAX, out);
    CR_TRY(cr_append_format(out, "the end (exit code %.0f)", cr_event_number(event, "exit_code")));
    if (!event->message) return CR_OK;
    CR_TRY(cr_append_format(out, ": "));
    return append_text(out, event->message);
}

static enum cr_status print_json(void *context, const struct cr_event *event, double time)
{
    (void)context;
    CR_CLEANUP(cr_buffer_release) struct cr_buffer line = {0};
    CR_TRY(cr_events_append(&line, event, time));
    return cr_command_print(cr_buffer_slice(&line));
}

static enum cr_status print_sentence(void *context, const struct cr_event *event, double time)
{
    (void)context;
    CR_CLEANUP(cr_buffer_release) struct cr_buffer sentence = {0};
    CR_CLEANUP(cr_buffer_release) struct cr_buffer line = {0};
    CR_TRY(append_sentence(&sentence, event));
    if (sentence.size == 0) return CR_OK;
    char when[CR_CLOCK_TEXT_SIZE];
    cr_clock_format((int64_t)time, when);
    CR_TRY(cr_append_format(&line, "%s  %s\n", when, cr_buffer_text(&sentence)));
    return cr_command_print(cr_buffer_slice(&line));
}

static enum cr_status print_all(const char *run, bool json, bool follow)
{
    CR_FREE char *events = NULL;
    CR_TRY(cr_path_join(run, "events.jsonl", &events));
    size_t offset = 0;
    for (;;) {
        bool alive; // checked first, so that everything it writes before its end is read
        CR_TRY(cr_run_lock_is_held(run, &alive));
        CR_TRY(cr_events_read(events, &offset, json ? print_json : print_sentence, NULL));
        if (!follow || !alive) return CR_OK;
        nanosleep(&(struct timespec){.tv_nsec = FOLLOW_MILLISECONDS * 1000 * 1000}, NULL);
    }
}

enum cr_status cr_command_logs(int argc, char **argv)
{
    const char *argument = NULL;
    bool json = false, follow = false, done;
    const struct cr_flag items[] = {
        {"follow", CR_FLAG_BOOL, &follow, NULL, "go on while the run does"},
        {"json", CR_FLAG_BOOL, &json, NULL, "the events as JSON lines"},
    };
    const struct cr_flags flags = {
        "carrel logs [RUN] [options]",
        "Prints what a run said, with the times (UTC). RUN is its run directory, its output_dir (of a silo: "
        "its\n--state) or its settings; without it, the one run directory of the working directory.",
        items,
        sizeof items / sizeof *items,
        0,
        1};
    CR_TRY(cr_command_flags(&flags, argc, argv, &argument, NULL, &done));
    if (done) return CR_OK;
    CR_FREE char *run = NULL;
    CR_TRY(cr_run_path_find(argument, &run));
    return print_all(run, json, follow);
}
