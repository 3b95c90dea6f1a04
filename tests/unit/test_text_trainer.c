// text/: training of a byte-level BPE.
#include "support.h"

#include "base/file.h"
#include "format/json.h"
#include "text/tokenizer.h"
#include "text/trainer.h"

#include <stdio.h>

static void training_merges_the_most_frequent(void **state)
{
    (void)state;
    // "ab" and "bc" are as frequent: the greater pair, b c, is merged first; "<s>" parts the text and never
    // merges.
    const char *const special[] = {"<s>"};
    struct cr_bpe_options options = {.vocabulary = 259, .special = special, .special_count = 1};
    const struct cr_slice texts[] = {cr_slice_of_string("abc<s>abc"), cr_slice_of_string("abc")};
    CR_CLEANUP(cr_buffer_release) struct cr_buffer json = {0};
    assert_ok(cr_bpe_train(texts, 2, &options, &json));
    struct cr_tokenizer *tokenizer = NULL;
    assert_ok(cr_tokenizer_parse(cr_buffer_slice(&json), "trained.json", &tokenizer));
    assert_true(cr_slice_equal(cr_tokenizer_token(tokenizer, 257), cr_slice_of_string("bc")));
    assert_true(cr_slice_equal(cr_tokenizer_token(tokenizer, 258), cr_slice_of_string("abc")));
    assert_int_equal(cr_tokenizer_vocabulary(tokenizer), 259);
    cr_tokenizer_free(tokenizer);

    const struct {
        struct cr_bpe_options options;
        const char *part;
    } cases[] = {
        {{.vocabulary = 255}, "must be in 256"},
        {{.vocabulary = 300, .bos = "<s>"}, "BOS \"<s>\" is not among"},
        {{.vocabulary = 300, .eos = "<s>"}, "EOS \"<s>\" is not among"},
        {{.vocabulary = 300, .special = (const char *const[]){"<s>", ""}, .special_count = 2},
         "special token 2 is empty or no UTF-8"},
        {{.vocabulary = 300, .special = (const char *const[]){"\xc3"}, .special_count = 1},
         "special token 1 is empty or no UTF-8"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_fails(CR_INVALID, cases[i].part, cr_bpe_train(texts, 2, &cases[i].options, &json));
    const struct cr_slice bad = cr_slice_of_string("a\xc3");
    assert_fails(CR_INVALID, "text 1 is not UTF-8 at byte 1", cr_bpe_train(&bad, 1, &options, &json));
    assert_fails(CR_INVALID, "empty", cr_bpe_train(texts, 0, &options, &json));
}

// Stanford CS336's reference: 243 merges of 130 kB of English, and the vocabulary they give.
static void training_equals_the_reference(void **state)
{
    (void)state;
    char name[1024];
    const char *const special[] = {"<|endoftext|>"};
    struct cr_bpe_options options = {.vocabulary = 500, .special = special, .special_count = 1};
    CR_CLEANUP(cr_buffer_release) struct cr_buffer corpus = {0};
    CR_CLEANUP(cr_buffer_release) struct cr_buffer merges = {0};
    CR_CLEANUP(cr_buffer_release) struct cr_buffer json = {0};
    CR_CLEANUP(cr_buffer_release) struct cr_buffer got = {0};
    snprintf(name, sizeof name, "%s/tokenizers/cs336/corpus.en", shared_data());
    assert_ok(cr_file_read(name, 1 << 20, &corpus));
    snprintf(name, sizeof name, "%s/tokenizers/cs336/train-bpe-reference-merges.txt", shared_data());
    assert_ok(cr_file_read(name, 1 << 20, &merges));
    struct cr_slice text = cr_buffer_slice(&corpus);
    assert_ok(cr_bpe_train(&text, 1, &options, &json));

    struct cr_json *root, *wanted;
    assert_ok(cr_json_parse(cr_buffer_slice(&json), "trained.json", &root));
    const struct cr_json *model = cr_json_member(root, "model"), *list = cr_json_member(model, "merges");
    for (size_t i = 0; i < cr_json_count(list); i++)
        for (size_t half = 0; half < 2; half++) {
            struct cr_slice token = cr_json_string(cr_json_at(cr_json_at(list, i), half));
            assert_ok(cr_append(&got, token.data, token.size));
            assert_ok(cr_append(&got, half == 0 ? " " : "\n", 1));
        }
    assert_string_equal(cr_buffer_text(&got), cr_buffer_text(&merges));

    snprintf(name, sizeof name, "%s/tokenizers/cs336/train-bpe-reference-vocab.json", shared_data());
    assert_ok(cr_json_read(name, 1 << 20, &wanted));
    const struct cr_json *vocabulary = cr_json_member(model, "vocab"), *value;
    assert_int_equal(cr_json_count(vocabulary), 500);
    assert_int_equal(cr_json_count(wanted), 500);
    void *position = NULL;
    const char *key;
    while (cr_json_next(wanted, &position, &key, &value)) {
        int64_t id = -1, other = -2;
        assert_true(cr_json_is_integer(value, &id));
        assert_true(cr_json_is_integer(cr_json_member(vocabulary, key), &other));
        assert_int_equal(id, other);
    }
    cr_json_free(root);
    cr_json_free(wanted);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(training_merges_the_most_frequent),
        cmocka_unit_test(training_equals_the_reference),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
