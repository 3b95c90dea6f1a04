#include "support.h"

#include "federation/progress.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

static const char *sentence_within(size_t most, const char *name, const char *message,
                                   const struct cr_event_field *fields, size_t count)
{
    static struct cr_buffer text;
    cr_buffer_clear(&text);
    struct cr_event event = {CR_EVENT_WARNING, name, message, fields, count};
    assert_ok(cr_event_sentence(&event, most, &text));
    return cr_buffer_text(&text);
}

static const char *sentence(const char *name, const char *message, const struct cr_event_field *fields,
                            size_t count)
{
    return sentence_within(SIZE_MAX, name, message, fields, count);
}

// Nobody reads: the work goes on, and who reads in the end gets the first MiB and the number of the rest.
static void test_an_unread_pipe_holds_nobody_up(void **state)
{
    (void)state;
    enum { EVENTS = 40000 };
    int ends[2];
    struct cr_progress progress;
    cr_progress_init(&progress, true);
    assert_int_equal(pipe(ends), 0);
    progress.out = fdopen(ends[1], "w");
    cr_progress_never_wait(&progress);
    assert_true(progress.quick > 0);
    struct cr_event_sink sink = cr_progress_sink(&progress);
    for (size_t i = 0; i < EVENTS; i++)
        cr_emit(&sink, CR_EVENT_INFO, "train.step", NULL, CR_FIELD("step", i));
    CR_CLEANUP(cr_buffer_release) struct cr_buffer got = {0};
    static char piece[65536];
    while (progress.waiting.size > 0) {
        ssize_t size = read(ends[0], piece, sizeof piece);
        assert_true(size > 0);
        assert_ok(cr_append(&got, piece, (size_t)size));
        cr_progress_tick(&progress);
    }
    assert_ok(cr_progress_end(&progress, CR_OK));
    fclose(progress.out);
    for (ssize_t size; (size = read(ends[0], piece, sizeof piece)) > 0;)
        assert_ok(cr_append(&got, piece, (size_t)size));
    close(ends[0]);
    size_t lines = 0, last = 0;
    for (size_t i = 0; i < got.size; i++)
        if (got.data[i] == '\n') {
            lines++;
            if (i + 1 < got.size) last = i + 1;
        }
    const char *end = strstr(cr_buffer_text(&got) + last, "\"events\":");
    assert_non_null(strstr(cr_buffer_text(&got) + last, "output.lost"));
    assert_non_null(end);
    assert_int_equal(lines - 1 + strtoul(end + strlen("\"events\":"), NULL, 10), EVENTS);
    assert_in_range(got.size, 1 << 20, (1 << 20) + 2 * sizeof piece);
}

// How far it is and when it ends come before how fast it is.
static void test_narrow_terminals(void **state)
{
    (void)state;
    const struct cr_event_field step[] = {CR_FIELD("step", 100), CR_FIELD("steps", 1000),
                                          CR_FIELD("loss", 1.5), CR_FIELD("tokens_per_second", 1000),
                                          CR_FIELD("eta", 62)};
    const char *whole = "step 100 of 1,000: loss 1.50, 1,000 tokens/s, 1 min 02 s left";
    assert_string_equal(sentence_within(strlen(whole), "train.step", NULL, step, 5), whole);
    assert_string_equal(sentence_within(strlen(whole) - 1, "train.step", NULL, step, 5),
                        "step 100 of 1,000: loss 1.50, 1 min 02 s left");
    const struct cr_event_field progress[] = {CR_FIELD("round", 1), CR_FIELD_TEXT("silo", "anne"),
                                              CR_FIELD("step", 3), CR_FIELD("steps", 48),
                                              CR_FIELD("loss", 2)};
    assert_string_equal(sentence_within(20, "round.progress", NULL, progress, 5),
                        "round 1: anne 3/48, loss 2.00");
    const struct cr_event_field ends[] = {CR_FIELD_TEXT("output", "out"), CR_FIELD("seconds", 1)};
    assert_string_equal(sentence_within(1, "tune.done", NULL, ends, 2), "the result is in out (1.0 s)");
}

// A line that is written over stays one column short of the terminal, whatever its name is; others wrap.
static void test_live_lines(void **state)
{
    (void)state;
    static const char wrapped[] = "\r\033[Kwarning: something that is longer than the terminal is wide\r\n";
    const struct cr_event_field progress[] = {
        CR_FIELD("round", 1), CR_FIELD_TEXT("silo", "a-hospital-with-a-long-name"), CR_FIELD("step", 3),
        CR_FIELD("steps", 48), CR_FIELD("loss", 2)};
    struct winsize size = {.ws_row = 24, .ws_col = 21};
    char shown[256] = "";
    int master = posix_openpt(O_RDWR | O_NOCTTY);
    assert_true(master >= 0 && grantpt(master) == 0 && unlockpt(master) == 0);
    FILE *terminal = fopen(ptsname(master), "w");
    assert_non_null(terminal);
    assert_int_equal(ioctl(fileno(terminal), TIOCSWINSZ, &size), 0);
    struct cr_progress shower = {.out = terminal, .live = true};
    struct cr_event_sink sink = cr_progress_sink(&shower);
    cr_event_send(&sink, CR_EVENT_INFO, "round.progress", NULL, progress, 5);
    assert_true(read(master, shown, sizeof shown - 1) > 0);
    assert_string_equal(shown, "round 1: a-hospital-");
    cr_emit(&sink, CR_EVENT_WARNING, "x", "something that is longer than the terminal is wide",
            CR_FIELD("round", 1));
    memset(shown, 0, sizeof shown);
    assert_true(read(master, shown, sizeof shown - 1) > 0);
    assert_string_equal(shown, wrapped);
    assert_ok(cr_progress_end(&shower, CR_OK));
    fclose(terminal);
    close(master);
}

static void test_sentences(void **state)
{
    (void)state;
    const struct cr_event_field step[] = {CR_FIELD("step", 1234567), CR_FIELD("steps", 2e9),
                                          CR_FIELD("loss", 1.23456), CR_FIELD("tokens_per_second", 999.6),
                                          CR_FIELD("eta", 3725)};
    assert_string_equal(sentence("train.step", NULL, step, 5),
                        "step 1,234,567 of 2,000,000,000: loss 1.2346, 1,000 tokens/s, 1 h 02 min left");
    assert_string_equal(sentence("train.step", NULL, step, 4),
                        "step 1,234,567 of 2,000,000,000: loss 1.2346, 1,000 tokens/s, ? left");
    // What is in brackets comes where all of its fields do.
    const struct cr_event_field sliced[] = {CR_FIELD("step", 1),
                                            CR_FIELD("steps", 2),
                                            CR_FIELD("tokens_per_second", 7),
                                            CR_FIELD("eta", 1),
                                            CR_FIELD("rows_verified", 1000),
                                            CR_FIELD("pads_ready", 50)};
    assert_string_equal(sentence("train.step", NULL, sliced, 6),
                        "step 1 of 2, 7 tokens/s, 1,000 rows verified, 50 pads ready, 1.0 s left");
    assert_string_equal(sentence("train.step", NULL, sliced, 5),
                        "step 1 of 2, 7 tokens/s, 1,000 rows verified, 1.0 s left");
    assert_string_equal(sentence("train.step", NULL, sliced, 4), "step 1 of 2, 7 tokens/s, 1.0 s left");
    const struct cr_event_field began[] = {CR_FIELD("round", 1), CR_FIELD_TEXT("silo", "anne"),
                                           CR_FIELD("step", 0), CR_FIELD("steps", 48),
                                           CR_FIELD("tokens_per_second", 7)};
    assert_string_equal(sentence("round.progress", NULL, began, 4), "round 1: anne is at step 0 of 48");
    assert_string_equal(sentence("round.progress", NULL, began, 5),
                        "round 1: anne is at step 0 of 48, 7 tokens/s");
    const struct cr_event_field came[] = {
        CR_FIELD_TEXT("silo", "anne"),  CR_FIELD("rows_verified", 1000),  CR_FIELD("bytes_blinded", 2.5e6),
        CR_FIELD("pads_used", 1000),    CR_FIELD("online_seconds", 1.25), CR_FIELD("offline_seconds", 3),
        CR_FIELD("chi_square", 248.31), CR_FIELD("front_layers", 9),      CR_FIELD("front_examples", 1152),
        CR_FIELD("front_checked", 37),
    };
    assert_string_equal(
        sentence("simulate.slicing", NULL, came, 7),
        "anne: 1,000 rows verified, 2.5 MB blinded, 1,000 pads used; 1.2 s of asking, 3.0 s of making pads "
        "meanwhile; the "
        "accelerator saw words with a chi-square of 248.3 (evenly spread: 255; 99 times of 100 between 201 "
        "and 317)");
    assert_string_equal(
        sentence("train.slicing", NULL, came + 1, 9),
        "slicing: 1,000 rows verified, 2.5 MB blinded, 1,000 pads used; 1.2 s of asking, 3.0 s of making "
        "pads meanwhile; the "
        "accelerator saw words with a chi-square of 248.3 (evenly spread: 255; 99 times of 100 between 201 "
        "and 317); the clear front ends before layer 9: 1,152 examples asked for once, 37 of them computed "
        "again");
    const struct cr_event_field left[] = {CR_FIELD_TEXT("silo", "anne"), CR_FIELD_TEXT("address", "[::1]:5")};
    assert_string_equal(sentence("server.left", "cut {silo}", left, 2), "anne [::1]:5 left: cut {silo}");
    assert_string_equal(sentence("server.left", "[::1]:5: cut", left, 2), "anne [::1]:5 left: cut");
    assert_string_equal(sentence("server.left", "[::1]:55: cut", left, 2),
                        "anne [::1]:5 left: [::1]:55: cut");
    const struct cr_event_field newcomer[] = {CR_FIELD_TEXT("silo", ""), CR_FIELD_TEXT("address", "[::1]:5")};
    assert_string_equal(sentence("server.left", "no", newcomer, 2), "[::1]:5 left: no");
    const struct cr_event_field probes[] = {CR_FIELD_TEXT("silo", ""), CR_FIELD_TEXT("address", "[::1]:5"),
                                            CR_FIELD("others", 9)};
    assert_string_equal(sentence("server.left", "no", probes, 3), "[::1]:5 left: no (and 9 more before)");
    assert_string_equal(sentence("server.joined", NULL, left, 2), "anne joined from [::1]:5");
    const struct cr_event_field often[] = {left[0], left[1], CR_FIELD("others", 1)};
    assert_string_equal(sentence("server.joined", NULL, often, 3),
                        "anne joined from [::1]:5 (and came and went 1 time before)");
    const struct cr_event_field held[] = {CR_FIELD("step", 9), CR_FIELD("loss", -1),
                                          CR_FIELD("accuracy", 0.255), CR_FIELD("labelled", 100)};
    assert_string_equal(sentence("train.eval", NULL, held, 4),
                        "evaluation after step 9: loss -1.00, accuracy 25.5 % of 100 tokens");
    const struct cr_event_field begins[] = {CR_FIELD("round", 1), CR_FIELD("rounds", 2),
                                            CR_FIELD("silos", 1)};
    assert_string_equal(sentence("round.begin", NULL, begins, 3), "round 1 of 2 begins with 1 silo");
    const struct cr_event_field both[] = {CR_FIELD("round", 2), CR_FIELD("rounds", 1), CR_FIELD("silos", 2)};
    assert_string_equal(sentence("round.begin", NULL, both, 3), "round 2 of 1 begins with 2 silos");
    assert_string_equal(sentence("no.such.event", "something", NULL, 0), "warning: something");
    assert_string_equal(sentence("no.such.event", NULL, NULL, 0), "");
    // Nothing that moves a terminal's cursor gets there.
    assert_string_equal(sentence("x", "a\033[2J\nb\x7f\xc2\x9b\xc3\xa9", NULL, 0),
                        "warning: a?[2J?b??\xc3\xa9");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_unread_pipe_holds_nobody_up),
        cmocka_unit_test(test_sentences),
        cmocka_unit_test(test_narrow_terminals),
        cmocka_unit_test(test_live_lines),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
