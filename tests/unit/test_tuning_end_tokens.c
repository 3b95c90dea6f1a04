// tuning/end_tokens.h: which tokens end a text.
#include "support.h"
#include "temporary.h"

#include "base/file.h"
#include "tuning/end_tokens.h"

static struct cr_tokenizer *tokenizer; // of the demo's model; its EOS is "</s>" by tokenizer_config.json

static void expect(size_t count, const uint32_t *wanted)
{
    CR_CLEANUP(cr_ids_release) struct cr_ids ends = {0};
    assert_ok(cr_end_tokens_read(directory, tokenizer, &ends));
    assert_int_equal(ends.count, count);
    for (size_t i = 0; i < count; i++) assert_true(cr_end_tokens_hold(&ends, wanted[i]));
    assert_false(cr_end_tokens_hold(&ends, 77));
}

static void files_are_asked_in_the_order_of_transformers(void **state)
{
    (void)state;
    uint32_t end;
    assert_true(cr_tokenizer_eos(tokenizer, &end));
    write_text(in_directory("config.json"), "{}");
    expect(1, &end);
    write_text(in_directory("config.json"), "{\"eos_token_id\": 5}");
    expect(1, (const uint32_t[]){5});
    write_text(in_directory("generation_config.json"), "{\"eos_token_id\": [9, 11]}");
    expect(2, (const uint32_t[]){9, 11});
    write_text(in_directory("generation_config.json"),
               "{\"eos_token_id\": [9, 1023, 1024]}"); // the last of which is beyond the vocabulary
    expect(2, (const uint32_t[]){9, 1023});
    write_text(in_directory("generation_config.json"), "{\"eos_token_id\": null}");
    expect(1, &end);
}

static void what_is_no_token_is_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {"\"</s>\"", "-1", "2.5", "[1, null]", "{}", "true"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char text[64];
        CR_CLEANUP(cr_ids_release) struct cr_ids ends = {0};
        snprintf(text, sizeof text, "{\"eos_token_id\": %s}", bad[i]);
        write_text(in_directory("generation_config.json"), text);
        assert_fails(CR_INVALID, "generation_config.json: eos_token_id",
                     cr_end_tokens_read(directory, tokenizer, &ends));
    }
    CR_CLEANUP(cr_buffer_release) struct cr_buffer many = {0};
    CR_CLEANUP(cr_ids_release) struct cr_ids ends = {0};
    assert_ok(cr_append_format(&many, "{\"eos_token_id\": [0"));
    for (size_t i = 1; i < 65; i++) assert_ok(cr_append_format(&many, ", %zu", i));
    assert_ok(cr_append_format(&many, "]}"));
    write_text(in_directory("generation_config.json"), cr_buffer_text(&many));
    assert_fails(CR_INVALID, "65 tokens, more than 64", cr_end_tokens_read(directory, tokenizer, &ends));
}

int main(void)
{
    if (cr_tokenizer_open("examples/demo/model", &tokenizer) != CR_OK) return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(files_are_asked_in_the_order_of_transformers),
        cmocka_unit_test(what_is_no_token_is_refused),
    };
    int failed = cmocka_run_group_tests(tests, make_directory, remove_directory);
    cr_tokenizer_free(tokenizer);
    return failed;
}
