// model/: a decoder of several texts says of each, bit for bit, what one of that text alone says: in models
// of every kind, in every type, by every processor's products, whatever the threads.
#include "model_support.h"
#include "texts_support.h"

static void check_config(struct cr_model_config config, enum cr_isa isa, enum cr_dtype act, size_t threads)
{
    struct cr_compute *compute;
    enum cr_status status = cr_compute_new_with(threads, isa, &compute);
    if (status == CR_UNSUPPORTED) return;
    assert_ok(status);
    if (act == CR_F32 || cr_compute_has_bf16(compute)) {
        struct cr_model *model = random_model(compute, config, act);
        check_short_texts(model, NULL);
        cr_model_free(model);
    }
    cr_compute_free(compute);
}

static void check_types(struct cr_model_config config)
{
    for (int isa = CR_ISA_SCALAR; isa <= CR_ISA_AMX; isa++)
        for (size_t threads = 1; threads <= 3; threads += 2) {
            check_config(config, (enum cr_isa)isa, CR_F32, threads);
            check_config(config, (enum cr_isa)isa, CR_BF16, threads);
        }
}

static void texts_do_not_see_their_neighbours(void **state)
{
    (void)state;
    check_types(small_config());
    check_types(config_with_biases_and_head_norms());
    check_types(config_with_windows());
    check_types(gpt2_config());
}

// Prompts of more rows than go through together, before and behind short ones.
static void long_prompts_go_in_parts_among_others(void **state)
{
    (void)state;
    static const struct text_case cases[] = {{3, 5},
                                             {CR_DECODER_ROWS + 90, CR_DECODER_ROWS + 92},
                                             {CR_DECODER_ROWS - 4, CR_DECODER_ROWS},
                                             {2 * CR_DECODER_ROWS, 2 * CR_DECODER_ROWS + 3},
                                             {300, 302},
                                             {300, 301}};
    struct cr_model_config config = small_config();
    struct cr_compute *compute;
    config.context = 2 * CR_DECODER_ROWS + 3;
    assert_ok(cr_compute_new(2, &compute));
    struct cr_model *model = random_model(compute, config, CR_F32);
    for (size_t places = 1; places <= 6; places++)
        check_texts(model, NULL, cases, sizeof cases / sizeof *cases, places);
    cr_model_free(model);
    cr_compute_free(compute);
}

static void a_decoder_has_so_many_texts(void **state)
{
    (void)state;
    struct cr_compute *compute;
    struct cr_decoder *decoder;
    const float *logits;
    const uint32_t tokens[] = {1, 2};
    assert_ok(cr_compute_new(1, &compute));
    struct cr_model *model = random_model(compute, small_config(), CR_F32);
    // 32 tokens more take 32 rows of keys and of values more in each of three layers.
    size_t more = cr_decoder_memory(model, NULL, 40) - cr_decoder_memory(model, NULL, 8);
    assert_in_range(more, 32 * 2 * 3 * 12 * sizeof(float), 32 * 2 * 3 * 16 * sizeof(float));
    assert_true(cr_decoder_memory(model, NULL, 8) > more / 4 + 37 * sizeof(float)); // and the logits
    assert_fails(CR_INTERNAL, "of 0 texts", cr_decoder_new(model, NULL, 8, 0, &decoder));
    assert_ok(cr_decoder_new(model, NULL, 8, 2, &decoder));
    assert_fails(CR_INTERNAL, "text 2 of 2",
                 cr_decoder_feed(decoder, &(struct cr_feed){2, tokens, 2}, 1, &logits));
    assert_fails(CR_INVALID, "no tokens",
                 cr_decoder_feed(decoder, &(struct cr_feed){1, tokens, 0}, 1, &logits));
    for (size_t i = 0; i < 4; i++)
        assert_ok(cr_decoder_feed(decoder, &(struct cr_feed){1, tokens, 2}, 1, &logits));
    assert_fails(CR_INVALID, "1 tokens do not fit the context of 8, of which 8 are taken",
                 cr_decoder_feed(decoder, &(struct cr_feed){1, tokens, 1}, 1, &logits));
    assert_ok(cr_decoder_feed(decoder, &(struct cr_feed){0, tokens, 2}, 1, &logits));
    cr_decoder_free(decoder);
    cr_model_free(model);
    cr_compute_free(compute);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts_do_not_see_their_neighbours),
        cmocka_unit_test(long_prompts_go_in_parts_among_others),
        cmocka_unit_test(a_decoder_has_so_many_texts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
