// base/: status, memory, bytes, threads, times, command lines.
#include "support.h"

#include "base/bytes.h"
#include "base/clock.h"
#include "base/flags.h"
#include "base/parse.h"
#include "base/thread.h"

#include <errno.h>
#include <math.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <sys/wait.h>

static void errors_keep_their_sentence(void **state)
{
    (void)state;
    assert_int_equal(cr_fail(CR_INVALID, "%s: bad", "x.json"), CR_INVALID);
    assert_string_equal(cr_error_message(), "x.json: bad");
    assert_int_equal(cr_fail_within(CR_INVALID, "job"), CR_INVALID);
    assert_string_equal(cr_error_message(), "job: x.json: bad");
    // What is quoted moves no terminal's cursor, and begins no line; letters beyond ASCII stay.
    assert_int_equal(cr_fail(CR_INVALID, "%s",
                             "a\x1b[2J\xc2\x9b"
                             "b\xc3\xa9\x7f\r\nc"),
                     CR_INVALID);
    assert_string_equal(cr_error_message(), "a?[2J?b\xc3\xa9???c");
    errno = ENOENT;
    assert_int_equal(cr_fail_errno(CR_IO, "a"), CR_IO);
    assert_string_equal(cr_error_message(), "a: No such file or directory");
    errno = ENOMEM;
    assert_int_equal(cr_fail_errno(CR_IO, "a"), CR_NO_MEMORY);
    char longer[4096];
    memset(longer, 'a', sizeof longer - 1);
    longer[sizeof longer - 1] = 0;
    assert_int_equal(cr_fail(CR_IO, "%s", longer), CR_IO);
    assert_int_equal(strlen(cr_error_message()), 1023);
}

static void allocation_refuses_overflow(void **state)
{
    (void)state;
    void *block = NULL;
    assert_fails(CR_NO_MEMORY, "out of memory", cr_allocate(SIZE_MAX / 2, 4, &block));
    assert_null(block);
    assert_ok(cr_allocate(3, 5, &block));
    assert_int_equal((uintptr_t)block % CR_ALIGNMENT, 0);
    size_t capacity = 15;
    assert_ok(cr_grow(16, &capacity, 1, &block));
    assert_true(capacity >= 16);
    cr_free(&block);
    assert_null(block);
}

static void arena_hands_out_what_was_counted(void **state)
{
    (void)state;
    struct cr_arena arena = {0};
    assert_null(cr_arena_take(&arena, 10, 4));
    assert_null(cr_arena_take(&arena, 1, 100));
    assert_ok(cr_arena_commit(&arena));
    char *first = cr_arena_take(&arena, 10, 4);
    char *second = cr_arena_take(&arena, 1, 100);
    assert_true(second >= first + 40);
    assert_int_equal((uintptr_t)second % CR_ALIGNMENT, 0);
    cr_arena_release(&arena);
}

static void cursor_stops_at_its_end(void **state)
{
    (void)state;
    const unsigned char bytes[] = {1, 2, 0, 3, 0, 0, 0};
    struct cr_cursor cursor = cr_cursor_over((struct cr_slice){bytes, sizeof bytes});
    assert_int_equal(cr_read_u8(&cursor), 1);
    assert_int_equal(cr_read_u16(&cursor), 2);
    assert_int_equal(cr_read_u32(&cursor), 3);
    assert_false(cursor.failed);
    assert_int_equal(cr_read_u8(&cursor), 0);
    assert_true(cursor.failed);
    assert_int_equal(cr_cursor_left(&cursor), 0);
    struct cr_cursor again = cr_cursor_over((struct cr_slice){bytes, sizeof bytes});
    assert_null(cr_read_slice(&again, SIZE_MAX).data);
    assert_true(again.failed);
}

static void buffer_round_trips(void **state)
{
    (void)state;
    CR_CLEANUP(cr_buffer_release) struct cr_buffer buffer = {0};
    assert_string_equal(cr_buffer_text(&buffer), "");
    assert_ok(cr_append_u64(&buffer, 0x0102030405060708u));
    assert_ok(cr_append_u16(&buffer, 0xabcd));
    assert_ok(cr_append_format(&buffer, "%d-%s", 7, "x"));
    struct cr_cursor cursor = cr_cursor_over(cr_buffer_slice(&buffer));
    assert_true(cr_read_u64(&cursor) == 0x0102030405060708u);
    assert_int_equal(cr_read_u16(&cursor), 0xabcd);
    assert_memory_equal(cr_read_slice(&cursor, 3).data, "7-x", 3);
    unsigned char raw[3] = {0, 0xaf, 0x10}, back[3];
    char text[7];
    cr_hex_encode((struct cr_slice){raw, 3}, text);
    assert_string_equal(text, "00af10");
    assert_ok(cr_append_hex(&buffer, (struct cr_slice){raw, 3}));
    assert_string_equal(cr_buffer_text(&buffer) + buffer.size - 6, text);
    assert_ok(cr_hex_decode("00AF10", back, 3));
    assert_memory_equal(raw, back, 3);
    assert_fails(CR_INVALID, "character 1", cr_hex_decode("0x1234", back, 3));
}

static void utf8_is_judged_strictly(void **state)
{
    (void)state;
    const char *good[] = {
        "", "abc", "\xc3\xa4", "\xe2\x82\xac", "\xf0\x9f\x98\x80", "\xf4\x8f\xbf\xbf", "\xed\x9f\xbf"};
    const char *bad[] = {"\x80",
                         "\xc0\x80",
                         "\xc1\xbf",
                         "\xe0\x80\x80",
                         "\xed\xa0\x80",
                         "\xf0\x80\x80\x80",
                         "\xf4\x90\x80\x80",
                         "\xf5\x80\x80\x80",
                         "a\xc3",
                         "ab\xe2\x82",
                         "\xff"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        assert_true(cr_utf8_valid(cr_slice_of_string(good[i]), NULL));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(cr_utf8_valid(cr_slice_of_string(bad[i]), NULL));
    size_t at = 0;
    assert_false(cr_utf8_valid(cr_slice_of_string("ab\xe2\x82"), &at));
    assert_int_equal(at, 2);
    // What lies behind the bytes ends no character of theirs.
    assert_false(cr_utf8_valid((struct cr_slice){(const unsigned char *)"\xe2\x82\xac", 2}, NULL));
}

struct marks {
    _Atomic int seen[1000];
};

static void mark(void *context, size_t i, size_t thread)
{
    (void)thread;
    atomic_fetch_add(&((struct marks *)context)->seen[i], 1);
}

static void pool_runs_every_item_once(void **state)
{
    (void)state;
    for (size_t threads = 1; threads <= 4; threads++) {
        struct cr_pool *pool;
        assert_ok(cr_pool_new(threads, &pool));
        assert_int_equal(cr_pool_threads(pool), threads);
        for (int round = 0; round < 2000; round++) {
            static struct marks marks;
            memset(&marks, 0, sizeof marks);
            size_t count = (size_t)round % 1000;
            cr_pool_run(pool, count, mark, &marks);
            for (size_t i = 0; i < 1000; i++) assert_int_equal(marks.seen[i], i < count ? 1 : 0);
        }
        cr_pool_free(pool);
    }
}

// In a process of its own, which then may have no other: limits on processes do not bind root.
static int fail_to_start_threads(void)
{
    struct rlimit none = {0, 0};
    struct cr_pool *pool;
    if (geteuid() == 0 && setuid(65534) != 0) return 2;
    if (setrlimit(RLIMIT_NPROC, &none) != 0) return 2;
    if (cr_pool_new(2, &pool) != CR_NO_MEMORY) return 1;
    return strstr(cr_error_message(), "thread 2 of 2") && strstr(cr_error_message(), strerror(EAGAIN)) ? 0
                                                                                                       : 1;
}

static void thread_that_cannot_be_started_is_told(void **state)
{
    (void)state;
    int status;
    pid_t child = fork();
    if (child == 0) _exit(fail_to_start_threads());
    assert_int_equal(waitpid(child, &status, 0), child);
    if (WEXITSTATUS(status) == 2) skip();
    assert_int_equal(status, 0);
}

enum { MOST_PROCESSORS = 64 };

struct places {
    size_t threads;
    atomic_size_t arrived;
    size_t processor[MOST_PROCESSORS], may_use[MOST_PROCESSORS]; // of each thread; how many it may run on
};

// Waits until every thread has an item.
static void stand(void *context, size_t i, size_t thread)
{
    (void)i;
    struct places *places = context;
    cpu_set_t set;
    atomic_fetch_add(&places->arrived, 1);
    while (atomic_load(&places->arrived) < places->threads) sched_yield();
    if (sched_getaffinity(0, sizeof set, &set) != 0) abort();
    places->processor[thread] = (size_t)sched_getcpu();
    places->may_use[thread] = (size_t)CPU_COUNT(&set);
}

static void check_places(struct cr_pool *pool, size_t callers)
{
    struct places places = {.threads = cr_pool_threads(pool)};
    bool taken[CPU_SETSIZE] = {false};
    cr_pool_run(pool, places.threads, stand, &places);
    for (size_t t = 0; t < places.threads; t++) {
        assert_int_equal(places.may_use[t], t == 0 ? callers : 1);
        if (callers > 1 && t == 0) continue; // Linux may have moved it meanwhile
        assert_false(taken[places.processor[t]]);
        taken[places.processor[t]] = true;
    }
}

static void threads_of_a_full_pool_stay_apart(void **state)
{
    (void)state;
    cpu_set_t all, one;
    assert_int_equal(sched_getaffinity(0, sizeof all, &all), 0);
    size_t processors = (size_t)CPU_COUNT(&all);
    if (processors < 2 || processors > MOST_PROCESSORS) skip();
    struct cr_pool *pool;
    assert_ok(cr_pool_new(processors, &pool));
    check_places(pool, processors);
    for (size_t here = 0; here < CPU_SETSIZE; here++) {
        if (!CPU_ISSET(here, &all)) continue;
        CPU_ZERO(&one);
        CPU_SET(here, &one);
        assert_int_equal(sched_setaffinity(0, sizeof one, &one), 0);
        check_places(pool, 1);
    }
    assert_int_equal(sched_setaffinity(0, sizeof all, &all), 0);
    cr_pool_free(pool);
}

static void time_is_written_as_rfc3339(void **state)
{
    (void)state;
    char text[CR_CLOCK_TEXT_SIZE];
    cr_clock_format(1700000000, text);
    assert_string_equal(text, "2023-11-14T22:13:20Z");
}

static void time_is_read_as_rfc3339(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t seconds;
    } good[] = {
        {"2023-11-14T22:13:20Z", 1700000000},
        {"2023-11-14t22:13:20z", 1700000000},
        {"2023-11-14 22:13:20.999Z", 1700000000},
        {"2023-11-15T00:13:20+02:00", 1700000000},
        {"2023-11-14T16:43:20-05:30", 1700000000},
        {"1970-01-01T00:00:00Z", 0},
        {"1969-12-31T23:59:59Z", -1},
        {"2024-02-29T00:00:00Z", 1709164800},
        {"9999-12-31T23:59:59Z", 253402300799},
    };
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        int64_t seconds = 5;
        assert_true(cr_clock_parse(good[i].text, &seconds));
        assert_int_equal(seconds, good[i].seconds);
    }
    static const char *const bad[] = {"",
                                      "2023-11-14",
                                      "2023-11-14T22:13:20",
                                      "2023-11-14T22:13Z",
                                      "2023-02-29T00:00:00Z",
                                      "2023-13-01T00:00:00Z",
                                      "2023-11-14T24:00:00Z",
                                      "2023-11-14T22:13:20Z ",
                                      "2023-11-14T22:13:20.Z",
                                      "2023-11-14T22:13:20+2:00",
                                      "23-11-14T22:13:20Z",
                                      "1700000000"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        int64_t seconds = 5;
        assert_false(cr_clock_parse(bad[i], &seconds));
        assert_int_equal(seconds, 5);
    }
}

struct flag_values {
    bool json;
    const char *model;
    size_t count;
    double rate;
    const char *many[2];
    struct cr_flag_list list;
};

static enum cr_status parse_flags(struct flag_values *values, const char *const *arguments, bool *help)
{
    *values = (struct flag_values){.count = 7};
    values->list = (struct cr_flag_list){.items = values->many, .capacity = 2};
    const struct cr_flag items[] = {
        {"json", CR_FLAG_BOOL, &values->json, NULL, "as JSON"},
        {"model", CR_FLAG_STRING, &values->model, "DIR", "a model"},
        {"count", CR_FLAG_SIZE, &values->count, "N", "how many"},
        {"rate", CR_FLAG_NUMBER, &values->rate, "X", "how fast"},
        {"set", CR_FLAG_STRINGS, &values->list, "KEY=VALUE", "a setting"},
    };
    const struct cr_flags flags = {"test [options] [FILE]", "Tests.", items, 5, 0, 1};
    char *argv[16] = {NULL};
    int argc = 0;
    for (; arguments[argc]; argc++) argv[argc] = strdup(arguments[argc]);
    const char *positional[1];
    size_t positional_count;
    enum cr_status status = cr_flags_parse(&flags, argc, argv, positional, &positional_count, help);
    CR_CLEANUP(cr_buffer_release) struct cr_buffer text = {0};
    assert_ok(cr_flags_help(&flags, &text));
    assert_non_null(strstr(cr_buffer_text(&text), "  --set KEY=VALUE a setting\n"));
    values->model = values->model ? "given" : NULL;
    for (int i = 0; i < argc; i++) free(argv[i]);
    return status;
}

#define FLAGS(...) ((const char *const[]){"test", __VA_ARGS__, NULL})

static void flags_are_read_strictly(void **state)
{
    (void)state;
    struct flag_values values;
    uint64_t number = 0;
    bool help;
    assert_ok(parse_flags(
        &values, FLAGS("--json", "--model=x", "--rate", "-2.5e3", "file", "--set", "a", "--set=b"), &help));
    assert_true(values.json && values.model && values.count == 7 && values.rate == -2500 &&
                values.list.count == 2);
    assert_ok(parse_flags(&values, FLAGS("--help", "--nonsense"), &help));
    assert_true(help);
    assert_ok(parse_flags(&values, FLAGS("--", "--help"), &help)); // a file of that name
    assert_false(help);
    assert_fails(CR_INVALID, "no number", parse_flags(&values, FLAGS("--rate", "1e999"), &help));
    assert_fails(CR_INVALID, "no whole number",
                 parse_flags(&values, FLAGS("--count", "18446744073709551615"), &help));
    const struct cr_flags wanting = {"test FILE", "Tests.", NULL, 0, 1, 1};
    assert_fails(CR_INVALID, "an argument is missing", cr_flags_parse(&wanting, 1, NULL, NULL, NULL, &help));
    struct cr_flag model = {"model", CR_FLAG_REQUIRED, &(const char *){NULL}, "DIR", "a model"};
    const struct cr_flags lacking = {"test --model DIR", "Tests.", &model, 1, 0, 0};
    assert_fails(CR_INVALID, "--model DIR is missing", cr_flags_parse(&lacking, 1, NULL, NULL, NULL, &help));
    assert_fails(CR_INVALID, "did you mean --model?", parse_flags(&values, FLAGS("--modle", "x"), &help));
    assert_fails(CR_INVALID, "unknown option --device (carrel computes on the processor",
                 parse_flags(&values, FLAGS("--device", "cuda"), &help));
    assert_fails(CR_INVALID, "unknown option --zzzzzzzz (usage: test [options] [FILE])",
                 parse_flags(&values, FLAGS("--zzzzzzzz"), &help));
    assert_fails(CR_INVALID, "unknown option -j (options begin with --)",
                 parse_flags(&values, FLAGS("-j"), &help));
    const struct cr_flag seed = {"seed", CR_FLAG_SEED, &number, "N", "a seed"};
    const struct cr_flags seeded = {"test --seed N", "Tests.", &seed, 1, 0, 0};
    char program[] = "test", largest[] = "--seed=18446744073709551615",
         larger[] = "--seed=18446744073709551616";
    char *with_largest[] = {program, largest}, *with_larger[] = {program, larger};
    assert_ok(cr_flags_parse(&seeded, 2, with_largest, NULL, NULL, &help));
    assert_true(number == UINT64_MAX);
    assert_fails(CR_INVALID, "--seed: \"18446744073709551616\" is no whole number",
                 cr_flags_parse(&seeded, 2, with_larger, NULL, NULL, &help));
    assert_fails(CR_INVALID, "wants an argument", parse_flags(&values, FLAGS("--model"), &help));
    assert_fails(CR_INVALID, "--model: empty", parse_flags(&values, FLAGS("--model="), &help));
    assert_fails(CR_INVALID, "an argument is empty", parse_flags(&values, FLAGS(""), &help));
    assert_fails(CR_INVALID, "takes no argument", parse_flags(&values, FLAGS("--json=1"), &help));
    assert_fails(CR_INVALID, "given twice", parse_flags(&values, FLAGS("--json", "--json"), &help));
    assert_fails(CR_INVALID, "no whole number", parse_flags(&values, FLAGS("--count", "8.5"), &help));
    assert_fails(CR_INVALID, "no whole number", parse_flags(&values, FLAGS("--count", "-1"), &help));
    assert_fails(CR_INVALID, "no whole number",
                 parse_flags(&values, FLAGS("--count", "99999999999999999999"), &help));
    assert_fails(CR_INVALID, "no number", parse_flags(&values, FLAGS("--rate", "nan"), &help));
    assert_fails(CR_INVALID, "no number", parse_flags(&values, FLAGS("--rate", "1x"), &help));
    assert_fails(CR_INVALID, "surplus", parse_flags(&values, FLAGS("a", "b"), &help));
    assert_fails(CR_INVALID, "more than 2",
                 parse_flags(&values, FLAGS("--set", "a", "--set", "b", "--set", "c"), &help));
}

static void words_are_laid_out_in_lines(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        size_t column, width;
        const char *expected;
    } cases[] = {
        {"", 0, 9, ""},
        {"one two three four", 0, 9, "one two\n# three\n# four"},
        {"one two three", 6, 9, "one\n# two\n# three"},
        {" one\n two  three ", 0, 80, "one two three"},
        {"four five", 0, 9, "four five"},
        {"four five", 0, 8, "four\n# five"},
        {"a b c", 0, 4, "a b\n# c"},
        {"unbreakable word", 0, 4, "unbreakable\n# word"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        CR_CLEANUP(cr_buffer_release) struct cr_buffer out = {0};
        assert_ok(cr_append_words(&out, cases[i].text, cases[i].column, cases[i].width, "# "));
        assert_string_equal(cr_buffer_text(&out), cases[i].expected);
    }
}

static void words_are_parsed_whole(void **state)
{
    (void)state;
    uint64_t whole = 7;
    double number = 7;
    assert_true(cr_parse_unsigned("18446744073709551615", &whole) && whole == UINT64_MAX);
    const char *const not_whole[] = {"", "-1", "+1", " 1", "1 ", "0x10", "18446744073709551616"};
    for (size_t i = 0; i < sizeof not_whole / sizeof *not_whole; i++)
        assert_false(cr_parse_unsigned(not_whole[i], &whole));
    assert_true(whole == UINT64_MAX);
    assert_true(cr_parse_number("-1.5e-3", &number) && number == -1.5e-3);
    const char *const no_number[] = {"", ".5", "5.", "01", "0x1p3", "inf", "nan", "1e", " 1", "1 "};
    for (size_t i = 0; i < sizeof no_number / sizeof *no_number; i++)
        assert_false(cr_parse_number(no_number[i], &number));
    assert_true(number == -1.5e-3);
    assert_true(cr_ends_with("a.tsv", ".tsv") && cr_ends_with("", "") && cr_ends_with("x", "x"));
    assert_false(cr_ends_with("a.tsv", ".ts") || cr_ends_with("sv", ".tsv") || cr_ends_with("a.TSV", ".tsv"));
    assert_int_equal(cr_edit_distance("kitten", "sitting"), 3);
    const char *const names[] = {"learning_rate", "warmup_steps", "tune"};
    assert_string_equal(cr_nearest_name("learn_rate", names, 3), names[0]);
    assert_null(cr_nearest_name("seed", names, 3));
}

static void an_arena_that_cannot_be_is_refused(void **state)
{
    (void)state;
    struct cr_arena arena = {0};
    for (int i = 0; i < 3; i++) assert_null(cr_arena_take(&arena, SIZE_MAX / 2 - CR_ALIGNMENT, 1));
    assert_null(cr_arena_take(&arena, 1, 1));
    assert_fails(CR_NO_MEMORY, "out of memory", cr_arena_commit(&arena));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(errors_keep_their_sentence),
        cmocka_unit_test(allocation_refuses_overflow),
        cmocka_unit_test(arena_hands_out_what_was_counted),
        cmocka_unit_test(cursor_stops_at_its_end),
        cmocka_unit_test(buffer_round_trips),
        cmocka_unit_test(utf8_is_judged_strictly),
        cmocka_unit_test(pool_runs_every_item_once),
        cmocka_unit_test(thread_that_cannot_be_started_is_told),
        cmocka_unit_test(threads_of_a_full_pool_stay_apart),
        cmocka_unit_test(time_is_written_as_rfc3339),
        cmocka_unit_test(time_is_read_as_rfc3339),
        cmocka_unit_test(flags_are_read_strictly),
        cmocka_unit_test(words_are_laid_out_in_lines),
        cmocka_unit_test(words_are_parsed_whole),
        cmocka_unit_test(an_arena_that_cannot_be_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
