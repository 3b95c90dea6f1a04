// tuning/base_digest: two directories have the same tokenizer where they cut texts alike.
#include "temporary.h"

#include "base/file.h"
#include "crypto/hash.h"
#include "tuning/base_digest.h"

static void assert_tokenizer(const char *wanted)
{
    struct cr_base_digest digest;
    unsigned char expected[CR_SHA256_SIZE];
    assert_ok(cr_base_digest_read(directory, true, &digest));
    assert_ok(cr_sha256(cr_slice_of_string(wanted), expected));
    assert_memory_equal(digest.tokenizer, expected, CR_SHA256_SIZE);
}

static void files_beside_count_by_what_they_change(void **state)
{
    (void)state;
#define TOKENIZER                                                                                            \
    "{\"added_tokens\": [{\"id\": 1, \"content\": \"</s>\"}, {\"id\": 2, \"content\": \"<s>\"}],"            \
    "\"model\": {\"vocab\": {\"a\": 0}, \"merges\": []}}"
    CR_CLEANUP(cr_buffer_release) struct cr_buffer config = {0};
    assert_ok(cr_file_read("tests/golden/llama-gqa/config.json", 1 << 20, &config));
    write_bytes(in_directory("config.json"), cr_buffer_slice(&config));
    write_text(in_directory("tokenizer.json"), TOKENIZER);
    assert_tokenizer(TOKENIZER);
    write_text(in_directory("tokenizer_config.json"), "{\"model_max_length\": 4096}");
    assert_tokenizer(TOKENIZER);
    write_text(in_directory("tokenizer_config.json"), "{\"eos_token\": \"</s>\"}"); // which is special then
    assert_tokenizer(TOKENIZER "token 1 special normalized\n");
    write_text(in_directory("tokenizer_config.json"),
               "{\"eos_token\": \"<s>\", \"tokenizer_class\": \"LlamaTokenizer\"}");
    assert_tokenizer(TOKENIZER "token 2 special normalized\nmetaspace first\neos 2\n");
    write_text(in_directory("tokenizer_config.json"),
               "{\"tokenizer_class\": \"LlamaTokenizer\", \"legacy\": true}");
    assert_tokenizer(TOKENIZER "metaspace always\n");
    // A file that says itself what the class does.
#define OWN                                                                                                  \
    "{\"pre_tokenizer\": {\"type\": \"Metaspace\", \"replacement\": \"\u2581\", \"split\": false, "          \
    "\"prepend_scheme\": \"always\"}, \"model\": {\"vocab\": {\"a\": 0}, \"merges\": []}}"
    write_text(in_directory("tokenizer.json"), OWN);
    assert_tokenizer(OWN);
    write_text(in_directory("tokenizer_config.json"), "{\"tokenizer_class\": \"LlamaTokenizer\"}");
    assert_tokenizer(OWN "metaspace first\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(files_beside_count_by_what_they_change),
    };
    return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
