// tuning/base_digest: two directories have the same tokenizer where they cut texts alike.
#include "temporary.h"

#include "base/file.h"
#include "crypto/hash.h"
#include "model/model.h"
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

// Two silos whose models differ in any number of config.json compute other things with the same weights.
static void every_number_of_a_shape_counts(void **state)
{
    (void)state;
    struct cr_model_config shape, other;
    struct cr_base_digest digest[2];
    assert_ok(cr_model_config_read("tests/golden/mistral-window", &shape));
    assert_true(cr_layer_window(&shape, 0) > 0);
    assert_ok(cr_base_digest_of(directory, &shape, NULL, &digest[0]));
#define COUNTS(change)                                                                                       \
    do {                                                                                                     \
        other = shape;                                                                                       \
        change;                                                                                              \
        assert_ok(cr_base_digest_of(directory, &other, NULL, &digest[1]));                                   \
        assert_memory_not_equal(digest[0].model, digest[1].model, CR_SHA256_SIZE);                           \
    } while (0)
    COUNTS(other.layout = CR_LAYOUT_GPT2);
    COUNTS(other.layers--);
    COUNTS(other.hidden++);
    COUNTS(other.heads++);
    COUNTS(other.kv_heads++);
    COUNTS(other.head_dim++);
    COUNTS(other.intermediate++);
    COUNTS(other.vocabulary++);
    COUNTS(other.context++);
    COUNTS(other.tied_head = !other.tied_head);
    COUNTS(other.norm_epsilon *= 1.001f);
    COUNTS(other.window++);
    COUNTS(other.windowed[0] ^= 1);
    COUNTS(other.rope.theta += 1e-9);
    COUNTS(other.rope.factor += 1e-9);
    COUNTS(other.rope.low_frequency += 1e-9);
    COUNTS(other.rope.high_frequency += 1e-9);
    COUNTS(other.rope.original_context++);
    COUNTS(other.rope.scaling = CR_ROPE_LINEAR);
    COUNTS(other.rope.first_pair += 1e-9);
    COUNTS(other.rope.last_pair += 1e-9);
    COUNTS(other.rope.amplitude += 1e-9);
    COUNTS(other.gelu_erf = true);
    COUNTS(other.unscaled_scores = true);
    COUNTS(other.scores_by_layer = true);
    assert_ok(cr_base_digest_of(directory, &shape, NULL, &digest[1]));
    assert_memory_equal(&digest[0], &digest[1], sizeof *digest);
}

#define MODEL "tests/golden/lora-gqa-tied/model"

// A split model's server learns one digest of a silo's layers, tokenizer and precision.
static void a_front_is_told_from_others(void **state)
{
    (void)state;
    struct cr_compute *compute;
    struct cr_model *model;
    struct cr_base_digest digest[4];
    assert_ok(cr_compute_new(1, &compute));
    assert_ok(cr_model_open(MODEL, CR_MODEL_SHAPE, NULL, compute, CR_F32, &model));
    assert_ok(cr_base_digest_front(model, MODEL, false, 1, &digest[0]));
    assert_ok(cr_base_digest_front(model, MODEL, true, 1, &digest[1]));
    assert_ok(cr_base_digest_front(model, MODEL, false, 2, &digest[2]));
    assert_ok(cr_base_digest_front(model, directory, false, 1, &digest[3])); // whose tokenizer is another
    for (size_t i = 1; i < 4; i++) assert_memory_not_equal(digest[0].model, digest[i].model, CR_SHA256_SIZE);
    cr_model_free(model);
    cr_compute_free(compute);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(files_beside_count_by_what_they_change),
        cmocka_unit_test(every_number_of_a_shape_counts),
        cmocka_unit_test(a_front_is_told_from_others),
    };
    return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
