#include "report/run_dir.h"

#include "base/clock.h"
#include "base/file.h"
#include "report/events.h"
#include "report/metrics.h"
#include "report/page.h"
#include "report/prometheus.h"
#include "report/run_lock.h"
#include "report/tensorboard.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const double refresh_seconds = 10; // between two writings of the page
static const char settings_name[] = "config.yaml", events_name[] = "events.jsonl";
static const char tensorboard_name[] = "events.out.tfevents."; // and a number, by which TensorBoard sorts

enum { SETTINGS_LIMIT = 1 << 24 }; // bytes

struct appended {
    char *path;
    int fd;
};

struct cr_run_dir {
    char *path;
    int lock;
    struct cr_event_sink warnings;
    bool warned;
    struct appended events, metrics, tensorboard;
    struct cr_story story;
    struct cr_buffer settings; // the content of config.yaml
    struct cr_buffer wanted;   // the settings of a start that may still be refused
    double refreshed;          // monotonic seconds; 0: never
    bool placed;               // TensorBoard has been told where this start continues
};

enum cr_status cr_run_dir_path(const char *of, char **out)
{
    CR_FREE char *named = NULL;
    CR_TRY(cr_copy_string(of[0] ? of : ".", &named));
    for (size_t size = strlen(named); size > 1 && named[size - 1] == '/'; size--) named[size - 1] = 0;
    const char *slash = strrchr(named, '/'), *last = slash ? slash + 1 : named;
    if (last[0] == 0 || strcmp(last, ".") == 0 || strcmp(last, "..") == 0) {
        char *real = realpath(named, NULL);
        if (!real) return cr_fail_errno(CR_IO, "%s", of);
        free(named);
        named = real;
        if (strcmp(named, "/") == 0)
            return cr_fail(CR_INVALID, "%s: the root has no name to put .run behind", of);
    }
    CR_CLEANUP(cr_buffer_release) struct cr_buffer path = {0};
    CR_TRY(cr_append_format(&path, "%s.run", named));
    return cr_copy_string(cr_buffer_text(&path), out);
}

static void tell(const struct cr_run_dir *run, const char *consequence)
{
    CR_CLEANUP(cr_buffer_release) struct cr_buffer text = {0};
    if (cr_append_format(&text, "%s (%s)", cr_error_message(), consequence) == CR_OK)
        cr_event_send(&run->warnings, CR_EVENT_WARNING, "run.warning", cr_buffer_text(&text), NULL, 0);
}

// A failure to write loses a report, not the work.
static void warn(struct cr_run_dir *run, enum cr_status status)
{
    if (status == CR_OK || run->warned) return;
    run->warned = true;
    tell(run, "the run goes on");
}

// Appends all or nothing: half a line would spoil the next one.
static enum cr_status append(const struct appended *file, const struct cr_buffer *bytes)
{
    if (bytes->size == 0) return CR_OK;
    off_t before = lseek(file->fd, 0, SEEK_END);
    if (before < 0) return cr_fail_errno(CR_IO, "%s: cannot be written", file->path);
    size_t at = 0;
    while (at < bytes->size) {
        ssize_t put = write(file->fd, bytes->data + at, bytes->size - at);
        if (put < 0 && errno == EINTR) continue;
        if (put < 0) {
            enum cr_status status = cr_fail_errno(CR_IO, "%s: cannot be written", file->path);
            (void)!ftruncate(file->fd, before);
            return status;
        }
        at += (size_t)put;
    }
    return CR_OK;
}

static enum cr_status open_appended(const char *directory, const char *name, struct appended *file)
{
    CR_TRY(cr_path_join(directory, name, &file->path));
    file->fd = open(file->path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    return file->fd < 0 ? cr_fail_errno(CR_IO, "%s: cannot be written", file->path) : CR_OK;
}

// Removes the half line that is left if the machine went down while writing it.
static enum cr_status drop_half_line(const struct appended *file)
{
    off_t size = lseek(file->fd, 0, SEEK_END);
    char chunk[4096];
    while (size > 0) {
        off_t from = size > (off_t)sizeof chunk ? size - (off_t)sizeof chunk : 0;
        size_t got;
        CR_TRY(cr_file_read_at(file->fd, file->path, (uint64_t)from, chunk, (size_t)(size - from), &got));
        const char *end = memrchr(chunk, '\n', got);
        if (end) {
            size = from + (end - chunk) + 1;
            break;
        }
        size = from;
    }
    return ftruncate(file->fd, size) == 0 ? CR_OK : cr_fail_errno(CR_IO, "%s: cannot be cut", file->path);
}

static void close_appended(struct appended *file)
{
    cr_file_close(&file->fd);
    cr_free(&file->path);
}

static enum cr_status open_events(struct cr_run_dir *run)
{
    CR_TRY(open_appended(run->path, events_name, &run->events));
    CR_TRY(drop_half_line(&run->events));
    return cr_story_read(&run->story, run->events.path);
}

// Starts the story again. It is part of the report, not of the work, so this does not stop the run.
static enum cr_status set_events_aside(struct cr_run_dir *run)
{
    CR_FREE char *aside = NULL;
    CR_TRY(cr_path_join(run->path, "events.jsonl.damaged", &aside));
    if (rename(run->events.path, aside) != 0)
        return cr_fail_errno(CR_IO, "%s: cannot be moved", run->events.path);
    tell(run, "set aside as events.jsonl.damaged; the run goes on");
    close_appended(&run->events);
    cr_story_release(&run->story);
    cr_story_init(&run->story);
    return open_events(run);
}

// The number in the name of a TensorBoard file; 0 for other names, and for a number beyond any clock's.
static long long number_of(const char *name)
{
    enum { DIGITS = 15 };
    size_t length = strlen(tensorboard_name);
    if (strncmp(name, tensorboard_name, length) != 0) return 0;
    size_t digits = strspn(name + length, "0123456789");
    return digits > 0 && digits <= DIGITS ? strtoll(name + length, NULL, 10) : 0;
}

// TensorBoard reads files in the order of their names: this one must sort after those of earlier starts, even
// if the clock was set back.
static enum cr_status open_tensorboard(struct cr_run_dir *run)
{
    long long number = cr_clock_unix();
    DIR *files = opendir(run->path);
    if (!files) return cr_fail_errno(CR_IO, "%s", run->path);
    for (struct dirent *entry = readdir(files); entry; entry = readdir(files))
        if (number_of(entry->d_name) >= number) number = number_of(entry->d_name) + 1;
    closedir(files);
    CR_CLEANUP(cr_buffer_release) struct cr_buffer name = {0};
    CR_TRY(cr_append_format(&name, "%s%lld.carrel.%ld", tensorboard_name, number, (long)getpid()));
    return open_appended(run->path, cr_buffer_text(&name), &run->tensorboard);
}

static enum cr_status open_files(struct cr_run_dir *run)
{
    enum cr_status status = open_events(run);
    if (status == CR_INVALID) status = set_events_aside(run);
    CR_TRY(status);
    CR_TRY(open_appended(run->path, "metrics.jsonl", &run->metrics));
    CR_TRY(drop_half_line(&run->metrics));
    CR_FREE char *settings = NULL;
    CR_TRY(cr_path_join(run->path, settings_name, &settings));
    if (cr_file_exists(settings)) CR_TRY(cr_file_read(settings, SETTINGS_LIMIT, &run->settings));
    return open_tensorboard(run);
}

static void free_run(struct cr_run_dir *run)
{
    struct appended *files[] = {&run->events, &run->metrics, &run->tensorboard};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) close_appended(files[i]);
    cr_file_close(&run->lock);
    cr_story_release(&run->story);
    cr_buffer_release(&run->settings);
    cr_buffer_release(&run->wanted);
    free(run->path);
    free(run);
}

static bool is_unfinished(const char *name)
{
    static const char *const written[] = {settings_name, "metrics.prom", "summary.html"};
    for (size_t i = 0; i < sizeof written / sizeof *written; i++)
        if (cr_file_is_unfinished(name, written[i])) return true;
    return false;
}

static enum cr_status open_run(struct cr_run_dir *run, const char *path)
{
    CR_TRY(cr_copy_string(path, &run->path));
    CR_TRY(cr_directory_make(path, true));
    CR_TRY(cr_run_lock_take(path, &run->lock));
    cr_directory_sweep(path, is_unfinished);
    return open_files(run);
}

enum cr_status cr_run_dir_open(const char *path, const char *command, const struct cr_event_sink *warnings,
                               struct cr_run_dir **out)
{
    struct cr_run_dir *run;
    CR_TRY(cr_allocate(1, sizeof *run, &run));
    run->lock = run->events.fd = run->metrics.fd = run->tensorboard.fd = -1;
    run->warnings = *warnings;
    cr_story_init(&run->story);
    enum cr_status status = open_run(run, path);
    if (status != CR_OK) {
        free_run(run);
        return cr_fail_within(status, "run directory");
    }
    CR_CLEANUP(cr_buffer_release) struct cr_buffer version = {0};
    status = cr_tensorboard_append_version(&version, cr_clock_wall());
    warn(run, status == CR_OK ? append(&run->tensorboard, &version) : status);
    const struct cr_event_field fields[] = {CR_FIELD_TEXT("command", command),
                                            CR_FIELD_TEXT("version", CARREL_VERSION)};
    cr_run_dir_take(run, &(struct cr_event){CR_EVENT_DEBUG, "run.begin", NULL, fields, 2});
    *out = run;
    return CR_OK;
}

int cr_run_dir_lock(const struct cr_run_dir *run)
{
    return run->lock;
}

// Settings of a start that is refused must not replace those of the existing run.
static void keep_settings(struct cr_run_dir *run)
{
    if (run->wanted.size == 0 || (run->story.starting && run->settings.size > 0)) return;
    cr_buffer_release(&run->settings);
    run->settings = run->wanted;
    run->wanted = (struct cr_buffer){0};
    warn(run, cr_directory_write(run->path, settings_name, cr_buffer_slice(&run->settings), false));
}

void cr_run_dir_settings(struct cr_run_dir *run, struct cr_slice yaml)
{
    cr_buffer_clear(&run->wanted);
    warn(run, cr_append(&run->wanted, yaml.data, yaml.size));
    keep_settings(run);
}

static enum cr_status refresh(struct cr_run_dir *run, bool alive)
{
    double now = cr_clock_wall();
    run->refreshed = cr_clock_monotonic();
    CR_CLEANUP(cr_buffer_release) struct cr_buffer text = {0};
    CR_TRY(cr_prometheus_append(&text, &run->story, now));
    CR_TRY(cr_directory_write(run->path, "metrics.prom", cr_buffer_slice(&text), false));
    cr_buffer_clear(&text);
    const char *slash = strrchr(run->path, '/');
    CR_TRY(cr_page_append(&text, &run->story, slash ? slash + 1 : run->path, cr_buffer_text(&run->settings),
                          alive, now));
    return cr_directory_write(run->path, "summary.html", cr_buffer_slice(&text), false);
}

// Writes even if nothing happened, so that a waiting run can be told from a killed one.
void cr_run_dir_tick(struct cr_run_dir *run)
{
    bool due = run->refreshed == 0 || cr_clock_monotonic() - run->refreshed >= refresh_seconds;
    if (due) warn(run, refresh(run, true));
}

// The first step or round of this start, if the event tells; else NaN.
static double first_of(const struct cr_event *event, bool silo)
{
    if (strcmp(event->name, "train.fresh") == 0) return 0;
    if (strcmp(event->name, "train.resumed") == 0) return cr_event_number(event, "step") + 1;
    if (strcmp(event->name, "train.step") == 0) // of a silo, or of a split model's server that began
        return silo ? cr_event_number(event, "step") : 0;
    return strcmp(event->name, "round.begin") == 0 ? cr_event_number(event, "round") : NAN;
}

// Tells TensorBoard from which step on this start repeats or replaces earlier values.
static enum cr_status append_start(struct cr_run_dir *run, const struct cr_event *event, double time,
                                   struct cr_buffer *out)
{
    double first = first_of(event, strcmp(run->story.role, "join") == 0);
    if (run->placed || !(first >= 0 && first < 1e15)) return CR_OK;
    run->placed = true;
    return cr_tensorboard_append_start(out, time, (int64_t)first);
}

static enum cr_status take_scalars(struct cr_run_dir *run, const struct cr_event *event, double time)
{
    CR_CLEANUP(cr_buffer_release) struct cr_buffer records = {0};
    CR_TRY(append_start(run, event, time, &records));
    CR_TRY(cr_metrics_append_scalars(&records, event, time));
    return append(&run->tensorboard, &records);
}

static enum cr_status take_lines(struct cr_run_dir *run, const struct cr_event *event, double time)
{
    CR_CLEANUP(cr_buffer_release) struct cr_buffer line = {0};
    CR_TRY(cr_events_append(&line, event, time));
    CR_TRY(append(&run->events, &line));
    cr_buffer_clear(&line);
    CR_TRY(cr_metrics_append_line(&line, event, time));
    return append(&run->metrics, &line);
}

void cr_run_dir_take(struct cr_run_dir *run, const struct cr_event *event)
{
    double time = cr_clock_wall();
    if (cr_story_keeps(&run->story, event, time)) {
        warn(run, take_lines(run, event, time));
        warn(run, take_scalars(run, event, time));
    }
    warn(run, cr_story_take(&run->story, event, time));
    keep_settings(run);
}

void cr_run_dir_close(struct cr_run_dir *run, int exit_code, const char *word)
{
    if (!run) return;
    const struct cr_event_field code = CR_FIELD("exit_code", exit_code);
    cr_run_dir_take(run, &(struct cr_event){CR_EVENT_DEBUG, "run.end", word, &code, 1});
    warn(run, refresh(run, false));
    free_run(run);
}
