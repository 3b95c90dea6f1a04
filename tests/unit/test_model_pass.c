// model/pass: which batches it takes, and that a failure leaves the caller's outputs alone, a decoder's too.
#include "model_support.h"

static void bad_batches_are_refused(void **state)
{
    (void)state;
    struct cr_compute *compute;
    assert_ok(cr_compute_new(1, &compute));
    struct cr_model *model = random_model(compute, small_config(), CR_F32);
    struct cr_pass *pass;
    assert_ok(cr_pass_new(model, &(struct cr_pass_size){.rows = 80, .sequences = 2, .backward = true}, NULL,
                          &pass));
    const size_t lengths[] = {5, 4};
    struct sample sample = random_sample(lengths, 2, 37, 1);
    double loss = 0;
    const struct cr_rows *rows = &sample.rows;
    assert_fails(CR_INTERNAL, "has not been through all layers",
                 cr_pass_loss(pass, NULL, rows, 1, &loss, NULL));
    assert_fails(CR_INVALID, "layers", cr_pass_forward(pass, NULL, rows, 0, 4));
    sample.tokens[8] = 37;
    assert_fails(CR_INVALID, "token 37 is outside", cr_pass_forward(pass, NULL, rows, 0, 3));
    sample.tokens[8] = 36;
    sample.position[3] = 64;
    assert_fails(CR_INVALID, "position 64 is outside the model's context",
                 cr_pass_forward(pass, NULL, rows, 0, 3));
    sample.position[3] = 3;
    sample.offset[1] = 10;
    assert_fails(CR_INVALID, "sequence 1", cr_pass_forward(pass, NULL, rows, 0, 3));
    sample.offset[1] = 5;
    sample.offset[2] = 8;
    assert_fails(CR_INVALID, "do not cover", cr_pass_forward(pass, NULL, rows, 0, 3));
    sample.offset[2] = 9;
    assert_ok(cr_pass_forward(pass, NULL, rows, 0, 3));
    sample.labels[0] = -1;
    assert_fails(CR_INVALID, "label -1", cr_pass_loss(pass, NULL, rows, 1, &loss, NULL));
    sample.labels[0] = 37;
    assert_fails(CR_INVALID, "label 37", cr_pass_loss(pass, NULL, rows, 1, &loss, NULL));
    sample.labels[0] = 0;
    assert_fails(CR_INTERNAL, "without their forward pass", cr_pass_backward(pass, NULL, rows, 0, 3));
    assert_true(loss == 0);
    assert_ok(cr_pass_loss(pass, NULL, rows, 1, &loss, NULL));
    assert_ok(cr_pass_backward(pass, NULL, rows, 0, 3));
    assert_fails(CR_INTERNAL, "without their forward pass", cr_pass_backward(pass, NULL, rows, 0, 3));
    uint32_t row = 9;
    float logits[37];
    assert_fails(CR_INVALID, "row 9", cr_pass_logits(pass, &row, 1, logits));
    struct cr_pass *small;
    assert_ok(cr_pass_new(model, &(struct cr_pass_size){.rows = 8, .sequences = 2}, NULL, &small));
    assert_fails(CR_INVALID, "9 rows", cr_pass_forward(small, NULL, rows, 0, 3));
    cr_pass_free(small);
    struct cr_decoder *decoder;
    assert_fails(CR_INVALID, "context of 65", cr_decoder_new(model, NULL, 65, 1, &decoder));
    sample_free(&sample);
    cr_pass_free(pass);
    cr_model_free(model);
    cr_compute_free(compute);
}

// A head that works so many times more and then fails, as one behind a network may.
static size_t calls_left;
static struct cr_linear_provider breaking;
static enum cr_status (*working_forward)(const struct cr_linear *, struct cr_matrix, struct cr_matrix);

static enum cr_status breaking_forward(const struct cr_linear *self, struct cr_matrix x, struct cr_matrix y)
{
    if (calls_left == 0) return cr_fail(CR_IO, "the head is gone");
    calls_left--;
    return working_forward(self, x, y);
}

static void break_head(struct cr_model *model)
{
    working_forward = model->head.provider->forward;
    breaking = *model->head.provider;
    breaking.forward = breaking_forward;
    model->head.provider = &breaking;
}

static void a_failure_leaves_outputs_alone(void **state)
{
    (void)state;
    struct cr_compute *compute;
    assert_ok(cr_compute_new(1, &compute));
    struct cr_model *model = random_model(compute, small_config(), CR_F32);
    break_head(model);

    // More labelled rows than the head takes at a time: the first part is right, the second fails.
    size_t lengths[24];
    for (size_t i = 0; i < 24; i++) lengths[i] = 50;
    struct sample sample = random_sample(lengths, 24, 37, 3);
    struct cr_pass *pass;
    assert_ok(cr_pass_new(model, &(struct cr_pass_size){.rows = 1200, .sequences = 24}, NULL, &pass));
    assert_ok(cr_pass_forward(pass, NULL, &sample.rows, 0, 3));
    union {
        bool flags[1200];
        unsigned char bytes[1200];
    } right;
    memset(right.bytes, 0x5a, sizeof right);
    double loss = 7;
    calls_left = 1;
    assert_fails(CR_IO, "head is gone", cr_pass_loss(pass, NULL, &sample.rows, 0, &loss, right.flags));
    assert_true(loss == 7);
    for (size_t i = 0; i < sizeof right.bytes; i++) assert_int_equal(right.bytes[i], 0x5a);
    calls_left = SIZE_MAX;
    assert_ok(cr_pass_loss(pass, NULL, &sample.rows, 0, &loss, right.flags));
    assert_true(loss > 7);

    // A decoder stands where it stood: what comes next is as if nothing had been tried.
    struct cr_decoder *tried, *fresh;
    assert_ok(cr_decoder_new(model, NULL, 20, 1, &tried));
    assert_ok(cr_decoder_new(model, NULL, 20, 1, &fresh));
    const float *logits = NULL, *wanted;
    calls_left = 0;
    assert_fails(CR_IO, "head is gone",
                 cr_decoder_feed(tried, &(struct cr_feed){0, sample.tokens, 15}, 1, &logits));
    assert_null(logits);
    calls_left = SIZE_MAX;
    assert_ok(cr_decoder_feed(tried, &(struct cr_feed){0, sample.tokens + 20, 20}, 1, &logits));
    assert_ok(cr_decoder_feed(fresh, &(struct cr_feed){0, sample.tokens + 20, 20}, 1, &wanted));
    assert_memory_equal(logits, wanted, 37 * sizeof *wanted);
    cr_decoder_free(tried);
    cr_decoder_free(fresh);
    cr_pass_free(pass);
    sample_free(&sample);
    cr_model_free(model);
    cr_compute_free(compute);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bad_batches_are_refused),
        cmocka_unit_test(a_failure_leaves_outputs_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
