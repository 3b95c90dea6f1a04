#include "temporary.h"

#include "base/file.h"
#include "report/events.h"
#include "report/run_dir.h"
#include "report/run_lock.h"

#include <dirent.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

static time_t skipped; // seconds that all clocks are ahead

int clock_gettime(clockid_t clock, struct timespec *out)
{
    long result = syscall(SYS_clock_gettime, clock, out);
    out->tv_sec += skipped;
    return (int)result;
}

static int warnings;

static void receive(void *context, const struct cr_event *event)
{
    (void)context;
    assert_string_equal(event->name, "run.warning");
    assert_int_equal(event->level, CR_EVENT_WARNING);
    warnings++;
}

static const struct cr_event_sink sink = {receive, NULL};

static struct cr_run_dir *open_as(const char *name, const char *command)
{
    struct cr_run_dir *run;
    assert_ok(cr_run_dir_open(in_directory(name), command, &sink, &run));
    return run;
}

static struct cr_run_dir *open_run(const char *name)
{
    return open_as(name, "tune");
}

static void take(struct cr_run_dir *run, const char *name, const struct cr_event_field *fields, size_t count)
{
    cr_run_dir_take(run, &(struct cr_event){CR_EVENT_INFO, name, NULL, fields, count});
}

static void take_number(struct cr_run_dir *run, const char *name, const char *field, double number)
{
    take(run, name, &CR_FIELD(field, number), 1);
}

static void step(struct cr_run_dir *run, double number, double loss)
{
    const struct cr_event_field fields[] = {CR_FIELD("step", number), CR_FIELD("steps", 30),
                                            CR_FIELD("loss", loss)};
    cr_run_dir_take(run, &(struct cr_event){CR_EVENT_INFO, "train.step", NULL, fields, 3});
}

static void read_text(const char *name, struct cr_buffer *out)
{
    cr_buffer_clear(out);
    assert_ok(cr_file_read(in_directory(name), 1 << 20, out));
}

static enum cr_status count(void *context, const struct cr_event *event, double time)
{
    (void)event, (void)time;
    ++*(int *)context;
    return CR_OK;
}

static int events_in(const char *name)
{
    size_t offset = 0;
    int found = 0;
    assert_ok(cr_events_read(in_directory(name), &offset, count, &found));
    return found;
}

// Whoever follows a file that is emptied, as some programs rotate logs, goes on at its start.
static void test_emptied(void **state)
{
    (void)state;
    static const char two[] = "{\"time\": 1, \"event\": \"x\"}\n{\"time\": 1, \"event\": \"y\"}\n";
    static const char one[] = "{\"time\": 2, \"event\": \"longer\"}\n";
    size_t offset = 0;
    int found = 0;
    write_text(in_directory("emptied"), two);
    assert_ok(cr_events_read(in_directory("emptied"), &offset, count, &found));
    assert_ok(cr_events_read(in_directory("emptied"), &offset, count, &found));
    assert_int_equal(found, 2); // nothing is new
    write_text(in_directory("emptied"), one);
    assert_ok(cr_events_read(in_directory("emptied"), &offset, count, &found));
    assert_int_equal(found, 3);
    assert_int_equal(offset, strlen(one));
}

// A file is read in pieces; where one is too long for a piece, it is told and not passed over.
static void test_long_lines(void **state)
{
    (void)state;
    CR_CLEANUP(cr_buffer_release) struct cr_buffer text = {0};
    static const char begin[] = "{\"time\": 1, \"event\": \"x\", \"a\": \"", end[] = "\"}\n";
    for (int i = 0; i < 3; i++) {
        size_t room =
            CR_EVENT_LINE_LIMIT - strlen(begin) - strlen(end) + 1; // the end of the line does not count
        assert_ok(cr_append_format(&text, "%s", begin));
        for (size_t j = 0; j < room; j++) assert_ok(cr_append_u8(&text, 'b'));
        assert_ok(cr_append_format(&text, "%s", end));
        assert_ok(cr_append_format(&text, "{\"time\": 1, \"event\": \"y\"}\n"));
    }
    size_t good = text.size;
    assert_ok(cr_append_format(&text, "%s", begin));
    for (size_t j = 0; j < CR_EVENT_LINE_LIMIT; j++) assert_ok(cr_append_u8(&text, 'b'));
    write_bytes(in_directory("long"), cr_buffer_slice(&text));
    size_t offset = 0;
    int found = 0;
    assert_fails(CR_INVALID, "a line of more than ",
                 cr_events_read(in_directory("long"), &offset, count, &found));
    assert_int_equal(found, 6);
    assert_int_equal(offset, good);
}

static void test_name(void **state)
{
    (void)state;
    static const char *const pairs[][2] = {
        {"adapter", "adapter.run"}, {"a/b", "a/b.run"}, {"../x", "../x.run"}, {"no/such//", "no/such.run"}};
    for (size_t i = 0; i < 4; i++) {
        CR_FREE char *path = NULL;
        assert_ok(cr_run_dir_path(pairs[i][0], &path));
        assert_string_equal(path, pairs[i][1]);
    }
    static const char *const same[] = {".", "", "./", "../%s/."};
    char *here = realpath(".", NULL);
    assert_non_null(here);
    for (size_t i = 0; i < 4; i++) { // what has no name of its own gets the directory's
        char of[512], expected[512];
        snprintf(of, sizeof of, same[i], strrchr(here, '/') + 1);
        snprintf(expected, sizeof expected, "%s.run", here);
        CR_FREE char *path = NULL;
        assert_ok(cr_run_dir_path(of, &path));
        assert_string_equal(path, expected);
    }
    free(here);
    char *path = NULL;
    static const char *const nameless[] = {"/", "//", "/..", "/./"};
    for (size_t i = 0; i < 4; i++)
        assert_fails(CR_INVALID, "the root has no name", cr_run_dir_path(nameless[i], &path));
}

static void test_goes_on(void **state)
{
    (void)state;
    struct cr_run_dir *run = open_run("on.run");
    cr_run_dir_settings(run, cr_slice_of_string("seed: 42\n"));
    step(run, 10, 3);
    step(run, 20, 2);
    cr_run_dir_close(run, 3, "no disk");
    assert_int_equal(events_in("on.run/events.jsonl"), 4);
    // A machine that went down left half a line, longer than what is read at once.
    CR_CLEANUP(cr_buffer_release) struct cr_buffer text = {0};
    read_text("on.run/events.jsonl", &text);
    assert_ok(cr_append_format(&text, "{\"time\": %09000d", 17));
    write_bytes(in_directory("on.run/events.jsonl"), cr_buffer_slice(&text));
    run = open_run("on.run");
    step(run, 30, 1);
    cr_run_dir_close(run, 0, NULL);
    assert_int_equal(events_in("on.run/events.jsonl"), 7);
    read_text("on.run/metrics.jsonl", &text);
    int lines = 0;
    for (size_t i = 0; i < text.size; i++) lines += text.data[i] == '\n';
    assert_int_equal(lines, 3);
    read_text("on.run/summary.html", &text); // with what came before
    assert_non_null(strstr(cr_buffer_text(&text), "step 10: 3</title>"));
    assert_non_null(strstr(cr_buffer_text(&text), "step 30: 1</title>"));
    assert_non_null(strstr(cr_buffer_text(&text), ">finished<"));
    read_text("on.run/config.yaml", &text);
    assert_string_equal(cr_buffer_text(&text), "seed: 42\n");
    read_text("on.run/metrics.prom", &text);
    assert_non_null(strstr(cr_buffer_text(&text), "\ncarrel_step 30\n"));
    assert_int_equal(warnings, 0);
}

static double gauge(const char *run_dir, const char *name)
{
    char path[64], line[64];
    CR_CLEANUP(cr_buffer_release) struct cr_buffer text = {0};
    snprintf(path, sizeof path, "%s/metrics.prom", run_dir);
    read_text(path, &text);
    snprintf(line, sizeof line, "\n%s ", name);
    const char *found = strstr(cr_buffer_text(&text), line);
    assert_non_null(found);
    return strtod(found + strlen(line), NULL);
}

// A run in which nothing happens is told from one that was killed.
static void test_page_and_gauges_tell_that_the_run_is_alive(void **state)
{
    (void)state;
    static const char updated[] = "carrel_updated_time_seconds", last[] = "carrel_last_event_time_seconds";
    CR_CLEANUP(cr_buffer_release) struct cr_buffer page = {0};
    struct cr_run_dir *run = open_run("quiet.run");
    step(run, 10, 3);
    cr_run_dir_tick(run);
    double first = gauge("quiet.run", updated), event = gauge("quiet.run", last);
    skipped = 9;
    cr_run_dir_tick(run);
    assert_true(gauge("quiet.run", updated) == first);
    skipped = 20;
    cr_run_dir_tick(run);
    assert_true(gauge("quiet.run", updated) >= first + 20 && gauge("quiet.run", last) == event);
    read_text("quiet.run/summary.html", &page);
    assert_non_null(strstr(cr_buffer_text(&page), ", running for 20."));
    cr_run_dir_close(run, 0, NULL);
    skipped = 0;
}

// How often the bytes are in the event files of TensorBoard.
static size_t in_tensorboard(const char *name, const char *bytes, size_t size)
{
    size_t found = 0;
    DIR *files = opendir(in_directory(name));
    assert_non_null(files);
    for (struct dirent *entry; (entry = readdir(files));) {
        char path[300];
        CR_CLEANUP(cr_buffer_release) struct cr_buffer file = {0};
        if (!strstr(entry->d_name, ".tfevents.")) continue;
        snprintf(path, sizeof path, "%s/%s", name, entry->d_name);
        read_text(path, &file);
        for (size_t i = 0; i + size <= file.size; i++) found += memcmp(file.data + i, bytes, size) == 0;
    }
    closedir(files);
    return found;
}

// Of an event whose step is of one byte: where a run goes on.
static size_t starts_at(const char *name, char step)
{
    const char bytes[] = {0x10, step, 0x3a, 0x02, 0x08, 0x01};
    return in_tensorboard(name, bytes + (step ? 0 : 2), sizeof bytes - (step ? 0 : 2));
}

// What is trained and kept is the work of the settings before, until a start is not refused.
static void test_a_refused_start_leaves_the_settings(void **state)
{
    (void)state;
    CR_CLEANUP(cr_buffer_release) struct cr_buffer text = {0};
    struct cr_run_dir *run = open_run("refused.run");
    cr_run_dir_settings(run, cr_slice_of_string("seed: 1\n"));
    read_text("refused.run/config.yaml", &text);
    assert_string_equal(cr_buffer_text(&text), "seed: 1\n"); // there are no others
    take_number(run, "train.fresh", "steps", 30);
    step(run, 10, 3);
    cr_run_dir_close(run, 130, "stopped");
    run = open_run("refused.run");
    cr_run_dir_settings(run, cr_slice_of_string("seed: 2\n"));
    take_number(run, "train.begin", "steps", 70);
    cr_run_dir_close(run, 2, "another run's state");
    read_text("refused.run/config.yaml", &text);
    assert_string_equal(cr_buffer_text(&text), "seed: 1\n");
    read_text("refused.run/summary.html", &text);
    assert_non_null(strstr(cr_buffer_text(&text), "seed: 1\n"));
    assert_non_null(strstr(cr_buffer_text(&text), "another run&#39;s state"));
    read_text("refused.run/metrics.prom", &text);
    assert_non_null(strstr(cr_buffer_text(&text), "\ncarrel_step 10\n"));
    assert_non_null(strstr(cr_buffer_text(&text), "\ncarrel_steps 30\n"));
    run = open_run("refused.run");
    cr_run_dir_settings(run, cr_slice_of_string("seed: 3\n"));
    take_number(run, "train.resumed", "step", 10);
    cr_run_dir_close(run, 0, NULL);
    read_text("refused.run/config.yaml", &text);
    assert_string_equal(cr_buffer_text(&text), "seed: 3\n");
    // A server that has nothing left to do is not refused.
    run = open_as("refused.run", "serve");
    cr_run_dir_settings(run, cr_slice_of_string("seed: 4\n"));
    take_number(run, "server.done", "rounds", 2);
    cr_run_dir_close(run, 0, NULL);
    read_text("refused.run/config.yaml", &text);
    assert_string_equal(cr_buffer_text(&text), "seed: 4\n");
}

static void test_tensorboard_is_told_what_is_void(void **state)
{
    (void)state;
    struct cr_run_dir *run = open_run("void.run");
    take_number(run, "train.fresh", "steps", 30);
    step(run, 10, 3);
    cr_run_dir_close(run, 130, "stopped");
    assert_int_equal(starts_at("void.run", 0), 1); // all of another run's
    run = open_run("void.run");
    take_number(run, "train.resumed", "step", 15);
    step(run, 20, 3);
    cr_run_dir_close(run, 0, NULL);
    assert_int_equal(starts_at("void.run", 16), 1);
    assert_int_equal(starts_at("void.run", 0), 2); // "0" finds any
    run = open_as("silo.run", "join");             // which trains on in its rounds
    step(run, 12, 3);
    cr_run_dir_close(run, 0, NULL);
    assert_int_equal(starts_at("silo.run", 12), 1);
    run = open_as("split.run", "serve");
    step(run, 10, 3);
    cr_run_dir_close(run, 0, NULL);
    assert_int_equal(starts_at("split.run", 10), 0);
    assert_int_equal(starts_at("split.run", 0), 1);
}

static void test_one_answer_of_a_silo(void **state)
{
    (void)state;
    const struct cr_event_field trained[] = {CR_FIELD_TEXT("silo", "anne"), CR_FIELD("round", 2),
                                             CR_FIELD("loss", 1.5)};
    for (int start = 1; start <= 2; start++) {
        struct cr_run_dir *run = open_as("answers.run", "serve");
        take_number(run, "server.listening", "round", 2);
        take_number(run, "round.begin", "round", 2);
        for (int i = 0; i < 3; i++) { // it came back, and says the same
            take(run, "round.trained", trained, 3);
            take_number(run, "round.begin", "round", 2);
        }
        cr_run_dir_close(run, 130, "stopped");
        // A server that was started again in the round voids what it has of it.
        assert_int_equal(starts_at("answers.run", 2), start);
        assert_int_equal(in_tensorboard("answers.run", "anne/round_loss", 15), start);
    }
}

static void test_one_at_a_time(void **state)
{
    (void)state;
    char path[256];
    snprintf(path, sizeof path, "%s", in_directory("lock.run"));
    bool held = true;
    assert_ok(cr_run_lock_is_held(path, &held)); // not there
    assert_false(held);
    struct cr_run_dir *run = open_run("lock.run");
    pid_t other = fork();
    if (other == 0) {
        struct cr_run_dir *second;
        bool seen = false;
        enum cr_status status = cr_run_dir_open(path, "tune", &sink, &second);
        bool ok = status == CR_INVALID &&
                  strstr(cr_error_message(), "another run is going on there (process ") &&
                  cr_run_lock_is_held(path, &seen) == CR_OK && seen;
        _exit(ok ? 0 : 1);
    }
    int status;
    assert_int_equal(waitpid(other, &status, 0), other);
    assert_int_equal(status, 0);
    cr_run_dir_close(run, 0, NULL);
    assert_ok(cr_run_lock_is_held(path, &held));
    assert_false(held);
}

// A parent that was killed left a child with the lock: the run is over, but the next one waits for its end.
static void test_waits_for_the_children_of_a_killed_run(void **state)
{
    (void)state;
    char path[256];
    snprintf(path, sizeof path, "%s", in_directory("child.run"));
    int ready[2];
    assert_int_equal(pipe(ready), 0);
    pid_t parent = fork();
    if (parent == 0) {
        struct cr_run_dir *run;
        if (cr_run_dir_open(path, "tune", &sink, &run) != CR_OK) _exit(1);
        pid_t child = fork();
        if (child == 0) {
            close(ready[0]);
            usleep(300 * 1000);
            _exit(0);
        }
        _exit(write(ready[1], &child, sizeof child) == (ssize_t)sizeof child ? 0 : 1);
    }
    int status;
    pid_t child;
    assert_int_equal(waitpid(parent, &status, 0), parent);
    assert_int_equal(status, 0);
    assert_int_equal(read(ready[0], &child, sizeof child), sizeof child);
    close(ready[1]);
    bool held = true;
    assert_ok(cr_run_lock_is_held(path, &held));
    assert_false(held);
    struct cr_run_dir *run = open_run("child.run");
    char end;
    assert_int_equal(read(ready[0], &end, 1), 0); // the child's end of the pipe is closed: it is gone
    close(ready[0]);
    cr_run_dir_close(run, 0, NULL);
}

static void test_no_room(void **state)
{
    (void)state;
    warnings = 0;
    struct cr_run_dir *run = open_run("full.run");
    struct rlimit before, tight;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    tight = before;
    tight.rlim_cur = 300; // bytes of a file
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &tight), 0);
    for (int i = 0; i < 50; i++) step(run, i, 1);
    cr_run_dir_settings(run, cr_slice_of_string("seed: 42\n"));
    cr_run_dir_tick(run);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_int_equal(warnings, 1);
    int few = events_in("full.run/events.jsonl"); // whole lines
    assert_in_range(few, 1, 4);
    step(run, 60, 1); // there is room again
    cr_run_dir_close(run, 0, NULL);
    assert_int_equal(events_in("full.run/events.jsonl"), few + 2);
    assert_int_equal(warnings, 1);
    assert_true(cr_file_exists(in_directory("full.run/summary.html")));
}

static void test_refused(void **state)
{
    (void)state;
    struct cr_run_dir *run;
    write_text(in_directory("file.run"), "");
    assert_fails(CR_IO, "run directory: ", cr_run_dir_open(in_directory("file.run"), "tune", &sink, &run));
}

// The work goes on without what was told of it.
static void test_damaged_events_are_set_aside(void **state)
{
    (void)state;
    CR_CLEANUP(cr_buffer_release) struct cr_buffer before = {0}, text = {0};
    struct cr_run_dir *run = open_run("bad.run");
    step(run, 10, 3);
    cr_run_dir_close(run, 0, NULL);
    read_text("bad.run/events.jsonl", &before);
    assert_ok(cr_append_format(&before, "nonsense\n"));
    write_bytes(in_directory("bad.run/events.jsonl"), cr_buffer_slice(&before));
    warnings = 0;
    run = open_run("bad.run");
    assert_int_equal(warnings, 1);
    step(run, 20, 2);
    cr_run_dir_close(run, 0, NULL);
    assert_int_equal(warnings, 1);
    assert_int_equal(events_in("bad.run/events.jsonl"), 3);
    read_text("bad.run/events.jsonl.damaged", &text);
    assert_string_equal(cr_buffer_text(&text), cr_buffer_text(&before));
    read_text("bad.run/summary.html", &text); // whose curve begins anew
    assert_null(strstr(cr_buffer_text(&text), "step 10: 3</title>"));
    assert_non_null(strstr(cr_buffer_text(&text), "step 20: 2</title>"));
}

static void test_tensorboard_files_are_in_the_order_of_starts(void **state)
{
    (void)state;
    char path[96], name[96];
    assert_ok(cr_directory_make(in_directory("order.run"), true));
    // Of a clock that was far ahead, and names that are nobody's time.
    static const char *const there[] = {"9000000000.carrel.1", "99999999999999999999.x", "later"};
    for (size_t i = 0; i < 3; i++) {
        snprintf(path, sizeof path, "order.run/events.out.tfevents.%s", there[i]);
        write_text(in_directory(path), "");
    }
    for (int start = 1; start <= 2; start++) {
        cr_run_dir_close(open_run("order.run"), 0, NULL);
        snprintf(name, sizeof name, "order.run/events.out.tfevents.%lld.carrel.%ld", 9000000000LL + start,
                 (long)getpid());
        assert_true(cr_file_exists(in_directory(name)));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_emptied),
        cmocka_unit_test(test_long_lines),
        cmocka_unit_test(test_name),
        cmocka_unit_test(test_goes_on),
        cmocka_unit_test(test_page_and_gauges_tell_that_the_run_is_alive),
        cmocka_unit_test(test_a_refused_start_leaves_the_settings),
        cmocka_unit_test(test_tensorboard_is_told_what_is_void),
        cmocka_unit_test(test_one_answer_of_a_silo),
        cmocka_unit_test(test_one_at_a_time),
        cmocka_unit_test(test_waits_for_the_children_of_a_killed_run),
        cmocka_unit_test(test_no_room),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_damaged_events_are_set_aside),
        cmocka_unit_test(test_tensorboard_files_are_in_the_order_of_starts),
    };
    return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
