#include "support.h"

#include "format/event_line.h"

#include <math.h>

static void parse(const char *text, struct cr_event_line *out)
{
    assert_ok(cr_event_line_parse(cr_slice_of_string(text), "line", out));
}

static void test_what_is_written_reads_back(void **state)
{
    (void)state;
    const struct cr_event_field fields[] = {CR_FIELD("loss", NAN), CR_FIELD("third", 1.0 / 3),
                                            CR_FIELD("whole", 7), CR_FIELD_TEXT("path", "a \"b\"\n\\c")};
    struct cr_event event = {CR_EVENT_WARNING, "x.y", "why\tnot", fields, 4};
    CR_CLEANUP(cr_buffer_release) struct cr_buffer text = {0};
    assert_ok(cr_event_line_append(&event, &text));
    assert_string_equal(cr_buffer_text(&text),
                        "{\"event\": \"x.y\", \"level\": \"warning\", \"message\": \"why\\tnot\", "
                        "\"loss\": null, \"third\": 0.3333333333333333, \"whole\": 7, "
                        "\"path\": \"a \\\"b\\\"\\n\\\\c\"}");
    CR_CLEANUP(cr_event_line_release) struct cr_event_line line;
    parse(cr_buffer_text(&text), &line);
    assert_string_equal(line.event.name, "x.y");
    assert_string_equal(line.event.message, "why\tnot");
    assert_int_equal(line.event.level, CR_EVENT_WARNING);
    assert_int_equal(line.event.field_count, 4);
    for (size_t i = 0; i < 4; i++) assert_string_equal(line.fields[i].name, fields[i].name);
    assert_true(isnan(line.fields[0].number));
    assert_true(line.fields[1].number == 1.0 / 3);
    assert_null(line.fields[2].text);
    assert_string_equal(line.fields[3].text, fields[3].text);
}

static void test_paths_that_are_no_utf8(void **state)
{
    (void)state;
    const struct cr_event_field field = CR_FIELD_TEXT("path", "a\xff/\xc3\xa9\xc3");
    struct cr_event event = {CR_EVENT_INFO, "x", NULL, &field, 1};
    CR_CLEANUP(cr_buffer_release) struct cr_buffer text = {0};
    assert_ok(cr_event_line_append(&event, &text));
    CR_CLEANUP(cr_event_line_release) struct cr_event_line line;
    parse(cr_buffer_text(&text), &line);
    assert_string_equal(line.fields[0].text, "a?/\xc3\xa9?");
}

static void test_what_is_no_event(void **state)
{
    (void)state;
    static const char *const wrong[] = {
        "",
        "[]",
        "{\"level\": \"info\"}",
        "{\"event\": 3}",
        "{\"event\": \"x\", \"level\": \"loud\"}",
        "{\"event\": \"x\", \"level\": 1}",
        "{\"event\": \"x\", \"message\": 1}",
        "{\"event\": \"x\", \"a\": true}",
        "{\"event\": \"x\", \"a\": [1]}",
        "{\"event\": \"x\", \"a\": {}}",
        "{\"event\": \"x\", \"a\": \"b\\u0000c\"}",
        "{\"event\": \"x\", \"a\": 1, \"a\": 1}",
        "{\"event\": \"x\", \"a\": 1",
    };
    struct cr_event_line line;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_int_equal(cr_event_line_parse(cr_slice_of_string(wrong[i]), "line", &line), CR_INVALID);
    CR_CLEANUP(cr_buffer_release) struct cr_buffer many = {0};
    assert_ok(cr_append_format(&many, "{\"event\": \"x\""));
    for (int i = 0; i <= CR_EVENT_LINE_FIELDS; i++) assert_ok(cr_append_format(&many, ", \"%d\": 1", i));
    assert_ok(cr_append_u8(&many, '}'));
    assert_int_equal(cr_event_line_parse(cr_buffer_slice(&many), "line", &line), CR_INVALID);
    assert_string_equal(cr_error_message(), "line: more than 32 fields");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_written_reads_back),
        cmocka_unit_test(test_paths_that_are_no_utf8),
        cmocka_unit_test(test_what_is_no_event),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
