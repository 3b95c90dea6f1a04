// format/json.h: strict reading, typed members, writing.
#include "support.h"

#include "base/file.h"
#include "format/json.h"

#include <math.h>

static enum cr_status parse(const char *text, struct cr_json **out)
{
    return cr_json_parse(cr_slice_of_string(text), "x.json", out);
}

#define JSON CR_CLEANUP(cr_json_release) struct cr_json *

static void values_of_every_kind(void **state)
{
    (void)state;
    JSON root = NULL;
    assert_ok(parse(" {\"z\":null,\"a\":[1,2.5,true,false,\"t\\u0000u\\u00e9\",{}],\"m\":-7} ", &root));
    assert_int_equal(cr_json_kind(root), CR_JSON_OBJECT);
    assert_int_equal(cr_json_count(root), 3);
    assert_int_equal(cr_json_kind(cr_json_member(root, "z")), CR_JSON_NULL);
    assert_null(cr_json_member(root, "absent"));
    const struct cr_json *list = cr_json_member(root, "a");
    assert_int_equal(cr_json_kind(list), CR_JSON_ARRAY);
    assert_int_equal(cr_json_count(list), 6);
    assert_null(cr_json_at(list, 6));
    assert_true(cr_json_number(cr_json_at(list, 0), 0) == 1.0);
    assert_true(cr_json_number(cr_json_at(list, 1), 0) == 2.5);
    assert_true(cr_json_bool(cr_json_at(list, 2), false));
    assert_false(cr_json_bool(cr_json_at(list, 3), true));
    struct cr_slice text = cr_json_string(cr_json_at(list, 4));
    assert_int_equal(text.size, 5);
    assert_memory_equal(text.data, "t\0u\xc3\xa9", 6);
    assert_false(cr_json_is_string(cr_json_at(list, 4), "t"));
    assert_int_equal(cr_json_kind(cr_json_at(list, 5)), CR_JSON_OBJECT);
    // Values of another kind, and no value at all, give the fallback.
    assert_true(cr_json_number(list, 3.0) == 3.0);
    assert_true(cr_json_bool(NULL, true));
    assert_null(cr_json_string(NULL).data);
    assert_int_equal(cr_json_count(NULL), 0);
    assert_int_equal(cr_json_kind(NULL), CR_JSON_NULL);
    assert_null(cr_json_member(list, "a"));
    assert_null(cr_json_at(root, 0));

    const char *keys[] = {"z", "a", "m"}, *key;
    const struct cr_json *value;
    void *position = NULL;
    for (size_t i = 0; i < 3; i++) {
        assert_true(cr_json_next(root, &position, &key, &value));
        assert_string_equal(key, keys[i]); // the document's order
        assert_ptr_equal(value, cr_json_member(root, key));
    }
    assert_false(cr_json_next(root, &position, &key, &value));
    position = NULL;
    assert_false(cr_json_next(list, &position, &key, &value));
}

static void a_document_may_be_one_value(void **state)
{
    (void)state;
    JSON root = NULL;
    assert_ok(parse("\"text\"", &root));
    assert_true(cr_json_is_string(root, "text"));
}

static void integers_are_exact_or_no_integers(void **state)
{
    (void)state;
    JSON root = NULL;
    int64_t n = 0;
    assert_ok(
        parse("[9223372036854775807, -9223372036854775807, 8.0, 8.5, 0.12345678901234567890123]", &root));
    assert_true(cr_json_is_integer(cr_json_at(root, 0), &n));
    assert_true(n == INT64_MAX);
    assert_true(cr_json_is_integer(cr_json_at(root, 1), &n));
    assert_true(n == -INT64_MAX);
    assert_true(cr_json_is_integer(cr_json_at(root, 2), &n));
    assert_int_equal(n, 8);
    assert_false(cr_json_is_integer(cr_json_at(root, 3), &n));
    assert_false(cr_json_is_integer(root, &n));

    // What tokenizer_config.json files hold: an integer far beyond 64 bits.
    JSON wide = NULL;
    assert_ok(
        parse("{\"model_max_length\": 1000000000000000019884624838656, \"n\": 9007199254740991}", &wide));
    assert_true(cr_json_number(cr_json_member(wide, "model_max_length"), 0) == 1e30);
    assert_false(cr_json_is_integer(cr_json_member(wide, "model_max_length"), &n));
    assert_true(cr_json_is_integer(cr_json_member(wide, "n"), &n));
    assert_true(n == 9007199254740991);
}

static void nothing_but_json(void **state)
{
    (void)state;
    static const struct {
        const char *text, *reason;
    } cases[] = {
        {"", "x.json:1:0: "},
        {"{", "x.json:1:1: "},
        {"{\"a\":1,\n \"a\":2}", "duplicate object key"},
        {"[1,]", "x.json:1:"},
        {"[1] 2", "end of file expected"},
        {"[01]", "x.json:1:"},
        {"[NaN]", "x.json:1:"},
        {"[1e400]", "overflow"},
        {"{\"a\\u0000b\":1}", "NUL"},
        {"[\"\\ud800\"]", "x.json:1:"},
        {"[\"a\nb\"]", "x.json:1:"},
        {"// c\n[1]", "x.json:1:"},
        {"\xef\xbb\xbf[1]", "x.json:1:"},
        {"[1,\n\"\xc3\x28\"]", "x.json:2:2: invalid UTF-8"},
        {"\"\\", "x.json:1:"},
        {"[1", "x.json:1:"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct cr_json *root = NULL;
        assert_fails(CR_INVALID, cases[i].reason, parse(cases[i].text, &root));
        assert_null(root);
    }
    // A zero byte neither ends the text nor passes.
    struct cr_json *root = NULL;
    const unsigned char zero[] = {'[', ']', 0, '1'};
    assert_fails(CR_INVALID, "x.json:1:", cr_json_parse((struct cr_slice){zero, 4}, "x.json", &root));
    // Too long a text is refused before its first byte is read.
    assert_fails(CR_INVALID, "x.json: 268435457 bytes of JSON, more than the 268435456 allowed",
                 cr_json_parse((struct cr_slice){zero, (256 << 20) + 1}, "x.json", &root));
    // More digits than any double has.
    char digits[512];
    memset(digits, '9', sizeof digits - 1);
    digits[sizeof digits - 1] = 0;
    assert_fails(CR_INVALID, "overflow", parse(digits, &root));
}

static void depth_is_bounded(void **state)
{
    (void)state;
    char text[131 + 1] = {0};
    memset(text, '[', 64);
    memset(text + 64, ']', 64);
    JSON deep = NULL;
    assert_ok(parse(text, &deep));
    memset(text, '[', 65);
    memset(text + 65, ']', 65);
    struct cr_json *root = NULL;
    assert_fails(CR_INVALID, "x.json:1:65: nested deeper than 64 levels", parse(text, &root));
    // Brackets inside strings do not count.
    char quoted[200] = "[\"\\\"";
    for (size_t i = 0; i < 100; i++) strcat(quoted, "[");
    strcat(quoted, "\"]");
    JSON flat = NULL;
    assert_ok(parse(quoted, &flat));
    // A bomb is refused before anything recurses.
    enum { BOMB = 1 << 20 };
    char *bomb = malloc(BOMB + 1);
    memset(bomb, '{', BOMB);
    bomb[BOMB] = 0;
    assert_fails(CR_INVALID, "nested deeper", parse(bomb, &root));
    free(bomb);
}

static void members_of_a_wanted_type(void **state)
{
    (void)state;
    JSON root = NULL;
    assert_ok(
        parse("{\"n\":8,\"half\":8.5,\"neg\":-1,\"s\":\"text\",\"t\":true,\"z\":null,\"nul\":\"a\\u0000\"}",
              &root));
    size_t size = 77;
    double number = 0;
    bool flag = false;
    const char *text = NULL;
    assert_ok(cr_json_require_size(root, "x.json", "n", 1, 8, &size));
    assert_int_equal(size, 8);
    assert_ok(cr_json_get_size(root, "x.json", "z", 1, 8, 5, &size));
    assert_int_equal(size, 5);
    assert_ok(cr_json_get_size(root, "x.json", "absent", 1, 8, 6, &size));
    assert_int_equal(size, 6);
    assert_fails(CR_INVALID, "x.json: \"absent\" is missing",
                 cr_json_require_size(root, "x.json", "absent", 0, 9, &size));
    assert_fails(CR_INVALID, "\"z\" is missing", cr_json_require_size(root, "x.json", "z", 0, 9, &size));
    assert_fails(CR_INVALID, "from 1 to 7 is wanted, not 8",
                 cr_json_require_size(root, "x.json", "n", 1, 7, &size));
    assert_fails(CR_INVALID, "not 8.5", cr_json_get_size(root, "x.json", "half", 0, 9, 0, &size));
    assert_fails(CR_INVALID, "not -1", cr_json_get_size(root, "x.json", "neg", 0, SIZE_MAX, 0, &size));
    assert_fails(CR_INVALID, "an integer is wanted, not a string",
                 cr_json_get_size(root, "x.json", "s", 0, 9, 0, &size));
    assert_int_equal(size, 6); // untouched by the failures

    assert_ok(cr_json_get_number(root, "x.json", "half", 1, &number));
    assert_true(number == 8.5);
    assert_fails(CR_INVALID, "a number is wanted, not a boolean",
                 cr_json_get_number(root, "x.json", "t", 1, &number));
    assert_ok(cr_json_get_bool(root, "x.json", "t", false, &flag));
    assert_true(flag);
    assert_fails(CR_INVALID, "true or false is wanted", cr_json_get_bool(root, "x.json", "n", false, &flag));
    assert_ok(cr_json_get_string(root, "x.json", "s", NULL, &text));
    assert_string_equal(text, "text");
    assert_ok(cr_json_get_string(root, "x.json", "absent", "fallback", &text));
    assert_string_equal(text, "fallback");
    assert_fails(CR_INVALID, "a string is wanted", cr_json_get_string(root, "x.json", "n", NULL, &text));
    assert_fails(CR_INVALID, "zero byte", cr_json_get_string(root, "x.json", "nul", NULL, &text));
}

static void files_are_bounded(void **state)
{
    (void)state;
    char path[] = "/tmp/carrel-json-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, "[1, 2]", 6), 6);
    close(fd);
    JSON root = NULL;
    assert_ok(cr_json_read(path, 6, &root));
    assert_int_equal(cr_json_count(root), 2);
    struct cr_json *other = NULL;
    assert_fails(CR_INVALID, "more than the 5 allowed", cr_json_read(path, 5, &other));
    write_text(path, "\xef\xbb\xbf[3]"); // with a byte order mark
    assert_ok(cr_json_read(path, 6, &other));
    assert_int_equal(cr_json_count(other), 1);
    cr_json_release(&other);
    write_text(path, "\xef\xbb\xbf\xef\xbb\xbf[3]"); // one is enough
    assert_fails(CR_INVALID, ":1:1: ", cr_json_read(path, 9, &other));
    write_text(path, "");
    assert_fails(CR_INVALID, ": the file is empty", cr_json_read(path, 9, &other));
    const char *pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n";
    write_text(path, pointer);
    assert_fails(CR_INVALID, ": a Git LFS pointer, not the file itself", cr_json_read(path, 99, &other));
    unlink(path);
    assert_fails(CR_NOT_FOUND, path, cr_json_read(path, 6, &other));
}

static void writing_reads_back(void **state)
{
    (void)state;
    CR_CLEANUP(cr_buffer_release) struct cr_buffer out = {0};
    const struct cr_slice text = {(const unsigned char *)"a\"\\\n\t\r\x01\x7f\xc3\xa9\0z", 12};
    assert_ok(cr_json_append_string(&out, text));
    assert_string_equal(cr_buffer_text(&out), "\"a\\\"\\\\\\n\\t\\r\\u0001\x7f\xc3\xa9\\u0000z\"");
    JSON back = NULL;
    assert_ok(cr_json_parse(cr_buffer_slice(&out), "out", &back));
    assert_true(cr_slice_equal(cr_json_string(back), text));
    assert_fails(CR_INVALID, "UTF-8 at byte 1", cr_json_append_string(&out, cr_slice_of_string("a\xff")));

    static const double numbers[] = {0, 1, -1, 0.1, 1.0 / 3, 1e300, 5e-324, 123456789012345680.0, 1e15};
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        cr_buffer_clear(&out);
        assert_ok(cr_json_append_number(&out, numbers[i]));
        JSON number = NULL;
        assert_ok(cr_json_parse(cr_buffer_slice(&out), "out", &number));
        assert_true(cr_json_number(number, -5) == numbers[i]);
    }
    cr_buffer_clear(&out);
    assert_ok(cr_json_append_number(&out, 0.1));
    assert_string_equal(cr_buffer_text(&out), "0.1");
    assert_fails(CR_INVALID, "no way to write", cr_json_append_number(&out, (double)NAN));
    assert_string_equal(cr_buffer_text(&out), "0.1");
}

static void bytes_are_written_as_digits(void **state)
{
    (void)state;
    CR_CLEANUP(cr_buffer_release) struct cr_buffer out = {0};
    const struct cr_slice bytes = {(const unsigned char *)"\x00\x1f\xff", 3};
    assert_ok(cr_json_append_hex(&out, "key", bytes));
    assert_string_equal(cr_buffer_text(&out), "\"key\": \"001fff\"");
    cr_buffer_clear(&out);
    for (size_t i = 0; i < 3; i++)
        assert_ok(cr_json_append_hex_item(&out, i, (struct cr_slice){bytes.data, i}));
    assert_string_equal(cr_buffer_text(&out), "\"\", \"00\", \"001f\"");
}

static void text_of_members_is_as_it_was_written(void **state)
{
    (void)state;
    static const char text[] =
        " { \"a\" : [1, {\"b\": \"]}\\\"\"}] ,\"b\":\"x\\\\\", \"c\\u0064\": 1, \"e\":-1.5e3\n, "
        "\"f\":{ }, \"g\": null}";
    static const struct {
        const char *key, *value;
    } members[] = {
        {"a", "[1, {\"b\": \"]}\\\"\"}]"}, {"b", "\"x\\\\\""}, {"e", "-1.5e3"}, {"f", "{ }"}, {"g", "null"}};
    struct cr_slice bytes = cr_slice_of_string(text), found;
    JSON root = NULL;
    assert_ok(cr_json_parse(bytes, "text", &root));
    for (size_t i = 0; i < sizeof members / sizeof *members; i++) {
        assert_true(cr_json_member_text(bytes, members[i].key, &found));
        assert_true(cr_slice_equal(found, cr_slice_of_string(members[i].value)));
    }
    assert_false(cr_json_member_text(bytes, "cd", &found)); // it is written with an escape
    assert_false(cr_json_member_text(bytes, "x", &found));
    assert_false(cr_json_member_text(cr_slice_of_string("[1]"), "x", &found));
    assert_false(cr_json_member_text(cr_slice_of_string("{}"), "x", &found));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_of_every_kind),
        cmocka_unit_test(a_document_may_be_one_value),
        cmocka_unit_test(integers_are_exact_or_no_integers),
        cmocka_unit_test(nothing_but_json),
        cmocka_unit_test(depth_is_bounded),
        cmocka_unit_test(members_of_a_wanted_type),
        cmocka_unit_test(files_are_bounded),
        cmocka_unit_test(text_of_members_is_as_it_was_written),
        cmocka_unit_test(writing_reads_back),
        cmocka_unit_test(bytes_are_written_as_digits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
