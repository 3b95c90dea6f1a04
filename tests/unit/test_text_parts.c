// Parts of tokenizer.json that few published tokenizers have. The ids and texts are those of Hugging Face's
// tokenizers (tests/golden/make_tokenizer_parts.py).
#include "tokenizer_support.h"

#include "format/json.h"
#include "text/unicode.h"

// Where it is in expected.json, and the ids.
static void append_ids(struct cr_buffer *out, size_t line, const struct cr_ids *ids)
{
    assert_ok(cr_append_format(out, "line %zu:", line));
    for (size_t i = 0; i < ids->count; i++) assert_ok(cr_append_format(out, " %u", ids->items[i]));
}

static void check_run(const struct cr_tokenizer *tokenizer, size_t line, const struct cr_json *run)
{
    CR_CLEANUP(cr_ids_release) struct cr_ids wanted = {0};
    CR_CLEANUP(cr_ids_release) struct cr_ids got = {0};
    CR_CLEANUP(cr_buffer_release) struct cr_buffer wanted_ids = {0};
    CR_CLEANUP(cr_buffer_release) struct cr_buffer got_ids = {0};
    CR_CLEANUP(cr_buffer_release) struct cr_buffer text = {0};
    const struct cr_json *given = cr_json_member(run, "text"), *ids = cr_json_member(run, "ids");
    for (size_t i = 0; i < cr_json_count(ids); i++)
        assert_ok(cr_ids_append(&wanted, (uint32_t)cr_json_number(cr_json_at(ids, i), -1)));
    append_ids(&wanted_ids, line, &wanted);
    if (given) {
        assert_ok(cr_tokenizer_encode(tokenizer, cr_json_string(given), true, &got));
        append_ids(&got_ids, line, &got);
        assert_string_equal(cr_buffer_text(&got_ids), cr_buffer_text(&wanted_ids));
    }
    assert_ok(cr_tokenizer_decode(tokenizer, wanted.items, wanted.count, false, &text));
    assert_string_equal(cr_buffer_text(&text),
                        (const char *)cr_json_string(cr_json_member(run, "decoded")).data);
}

static void parts_do_as_elsewhere(void **state)
{
    (void)state;
    CR_CLEANUP(cr_json_release) struct cr_json *cases = NULL;
    assert_ok(cr_json_read("tests/golden/tokenizer-parts/expected.json", 1 << 20, &cases));
    assert_true(cr_json_count(cases) > 90);
    for (size_t i = 0; i < cr_json_count(cases); i++) {
        const struct cr_json *runs = cr_json_member(cr_json_at(cases, i), "runs");
        struct cr_tokenizer *tokenizer = NULL;
        assert_ok(cr_tokenizer_parse(cr_json_string(cr_json_member(cr_json_at(cases, i), "tokenizer")),
                                     "small.json", &tokenizer));
        for (size_t k = 0; k < cr_json_count(runs); k++) check_run(tokenizer, i + 2, cr_json_at(runs, k));
        cr_tokenizer_free(tokenizer);
    }
}

// str.isspace() of Python, by which templates strip: Unicode's white space and four controls.
static void gaps_are_those_of_python(void **state)
{
    (void)state;
    static const uint32_t ranges[][2] = {
        {0x9, 0xd},       {0x1c, 0x20},     {0x85, 0x85},     {0xa0, 0xa0},     {0x1680, 0x1680},
        {0x2000, 0x200a}, {0x2028, 0x2029}, {0x202f, 0x202f}, {0x205f, 0x205f}, {0x3000, 0x3000}};
    size_t next = 0;
    for (uint32_t c = 0; c < 0x110000; c++) {
        while (next < sizeof ranges / sizeof *ranges && ranges[next][1] < c) next++;
        bool gap = next < sizeof ranges / sizeof *ranges && c >= ranges[next][0];
        if (cr_unicode_gap(c) != gap) fail_msg("U+%04X", c);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parts_do_as_elsewhere),
        cmocka_unit_test(gaps_are_those_of_python),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
