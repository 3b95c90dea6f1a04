// base/words, and durations of base/parse: figures and foreign text as people read and write them.
#include "support.h"

#include "base/parse.h"
#include "base/words.h"

#include <math.h>

static void counts_are_written_by_thousands(void **state)
{
    (void)state;
    static const struct {
        double number;
        const char *wanted;
    } cases[] = {{0, "0"}, {999.4, "999"}, {999.6, "1,000"}, {1234567, "1,234,567"}, {-12345, "-12,345"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        CR_CLEANUP(cr_buffer_release) struct cr_buffer text = {0};
        assert_ok(cr_append_count(&text, cases[i].number));
        assert_string_equal(cr_buffer_text(&text), cases[i].wanted);
    }
    char text[CR_COUNT_SIZE];
    assert_string_equal(cr_count_text(0, text), "0");
    assert_string_equal(cr_count_text(1500, text), "1,500");
    assert_string_equal(cr_count_text(SIZE_MAX, text), "18,446,744,073,709,551,615");
}

static void losses_have_the_digits_that_they_were_told_with(void **state)
{
    (void)state;
    static const struct {
        double loss;
        const char *wanted;
    } cases[] = {{0.51321, "0.5132"},
                 {0.00004, "0.0000"},
                 {12.3, "12.30"},
                 {0, "0.00"},
                 {round(1.0213 * 100) / 100, "1.02"},
                 {0.2900001, "0.2900"},
                 {INFINITY, "inf"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        CR_CLEANUP(cr_buffer_release) struct cr_buffer text = {0};
        assert_ok(cr_append_loss(&text, cases[i].loss));
        assert_string_equal(cr_buffer_text(&text), cases[i].wanted);
    }
}

static void durations_are_rounded_to_their_unit(void **state)
{
    (void)state;
    static const struct {
        double seconds;
        const char *wanted;
    } cases[] = {{4.16, "4.2 s"},
                 {59.94, "59.9 s"},
                 {59.96, "1 min 00 s"},
                 {60, "1 min 00 s"},
                 {187, "3 min 07 s"},
                 {3599.9, "59 min 59 s"},
                 {3600, "1 h 00 min"},
                 {97260, "27 h 01 min"},
                 {-1, "?"},
                 {NAN, "?"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        CR_CLEANUP(cr_buffer_release) struct cr_buffer text = {0};
        assert_ok(cr_append_duration(&text, cases[i].seconds));
        assert_string_equal(cr_buffer_text(&text), cases[i].wanted);
    }
}

static void durations_are_read_in_one_unit(void **state)
{
    (void)state;
    double seconds = 0;
    assert_true(cr_parse_duration("24h", &seconds) && seconds == 86400);
    assert_true(cr_parse_duration("7d", &seconds) && seconds == 7 * 86400);
    static const char *const wrong[] = {
        "", "h", "24", "1.5h", "-1h", "1w", "1000000000000000000000000000000000000000h"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_false(cr_parse_duration(wrong[i], &seconds));
}

static void foreign_text_moves_no_cursor(void **state)
{
    (void)state;
    CR_CLEANUP(cr_buffer_release) struct cr_buffer text = {0};
    assert_ok(cr_append_format(&text, "\n"));
    assert_ok(cr_append_plain(&text, "a\n\x1b[2Jna\xc3\xafve\xc2\x9b\x7f"));
    assert_string_equal(cr_buffer_text(&text), "\na??[2Jna\xc3\xafve??");
}

static void one_thing_has_no_s(void **state)
{
    (void)state;
    assert_string_equal(cr_plural(0), "s");
    assert_string_equal(cr_plural(1), "");
    assert_string_equal(cr_plural(2), "s");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counts_are_written_by_thousands),
        cmocka_unit_test(losses_have_the_digits_that_they_were_told_with),
        cmocka_unit_test(durations_are_rounded_to_their_unit),
        cmocka_unit_test(durations_are_read_in_one_unit),
        cmocka_unit_test(foreign_text_moves_no_cursor),
        cmocka_unit_test(one_thing_has_no_s),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
