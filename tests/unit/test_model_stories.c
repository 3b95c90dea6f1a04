// model/ with a real language model: stories260K's published greedy text, and its loss on TinyStories as an
// independent implementation measured it (../shared/data/README.md).
#include "model_support.h"

#include "format/json.h"
#include "text/tokenizer.h"

struct stories {
    struct cr_compute *compute;
    struct cr_model *model;
    struct cr_tokenizer *tokenizer;
};

static struct stories stories_open(void)
{
    struct stories s;
    CR_FREE char *path = NULL;
    assert_ok(cr_path_join(shared_data(), "models/stories260K", &path));
    assert_ok(cr_compute_new(1, &s.compute));
    assert_ok(cr_model_open(path, CR_MODEL_AS_FILED, NULL, s.compute, CR_F32, &s.model));
    assert_ok(cr_tokenizer_open(path, &s.tokenizer));
    return s;
}

static void stories_close(struct stories *s)
{
    cr_tokenizer_free(s->tokenizer);
    cr_model_free(s->model);
    cr_compute_free(s->compute);
}

static void greedy_text_is_the_published_one(void **state)
{
    (void)state;
    struct stories s = stories_open();
    struct cr_decoder *decoder;
    assert_ok(cr_decoder_new(s.model, NULL, 200, 1, &decoder));
    uint32_t tokens[201];
    assert_true(cr_tokenizer_bos(s.tokenizer, &tokens[0]));
    for (size_t i = 0; i < 200; i++) {
        const float *logits;
        assert_ok(cr_decoder_feed(decoder, &(struct cr_feed){0, &tokens[i], 1}, 1, &logits));
        tokens[i + 1] = cr_choose_token(logits, s.model->config.vocabulary, 0, 0);
    }
    CR_CLEANUP(cr_buffer_release) struct cr_buffer text = {0}, expected = {0};
    assert_ok(cr_tokenizer_decode(s.tokenizer, tokens, 201, true, &text));
    CR_FREE char *path = NULL;
    assert_ok(cr_path_join(shared_data(), "models/stories260K/expected-greedy-200.txt", &path));
    assert_ok(cr_file_read(path, 4096, &expected));
    assert_string_equal(cr_buffer_text(&text), cr_buffer_text(&expected));
    cr_decoder_free(decoder);
    stories_close(&s);
}

static void loss_is_the_published_one(void **state)
{
    (void)state;
    struct stories s = stories_open();
    CR_FREE char *path = NULL;
    assert_ok(cr_path_join(shared_data(), "datasets/tinystories/tinystories_first500.json", &path));
    struct cr_json *texts;
    assert_ok(cr_json_read(path, 1 << 24, &texts));
    struct cr_pass *pass;
    assert_ok(cr_pass_new(s.model, &(struct cr_pass_size){.rows = 512, .sequences = 1}, NULL, &pass));
    double loss = 0;
    size_t labelled = 0;
    for (size_t i = 0; i < 20; i++) {
        CR_CLEANUP(cr_ids_release) struct cr_ids ids = {0};
        assert_ok(cr_tokenizer_encode(s.tokenizer, cr_json_string(cr_json_at(texts, i)), true, &ids));
        size_t count = ids.count < 512 ? ids.count : 512;
        struct sample sample = sample_new(&count, 1);
        memcpy(sample.tokens, ids.items, count * sizeof *ids.items);
        for (size_t j = 0; j < count; j++)
            sample.labels[j] = j + 1 < count ? (int32_t)ids.items[j + 1] : CR_UNLABELLED;
        assert_ok(cr_pass_forward(pass, NULL, &sample.rows, 0, s.model->config.layers));
        assert_ok(cr_pass_loss(pass, NULL, &sample.rows, 0, &loss, NULL));
        labelled += count - 1;
        sample_free(&sample);
    }
    loss /= (double)labelled;
    if (!(fabs(loss - 1.334) < 0.002)) fail_msg("loss %.5f", loss);
    cr_json_free(texts);
    cr_pass_free(pass);
    stories_close(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(greedy_text_is_the_published_one),
        cmocka_unit_test(loss_is_the_published_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
