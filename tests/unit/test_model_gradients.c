// model/: gradients against finite differences, and what must not change a bit: packing, splitting a walk,
// the number of threads, and how far down the way back goes.
#include "model_support.h"

struct fixture {
    struct cr_compute *compute;
    struct cr_model *model;
    struct sample sample;
    struct cr_pass *pass;
    struct collectors *collectors;
};

static const size_t lengths[] = {9, 1, 14};

static struct fixture fixture_new(struct cr_model_config config, enum cr_dtype act, size_t threads)
{
    struct fixture f;
    f.compute = compute_in(act, threads);
    f.model = random_model(f.compute, config, act);
    f.sample = random_sample(lengths, 3, config.vocabulary, 5);
    assert_ok(cr_pass_new(
        f.model, &(struct cr_pass_size){.rows = f.sample.rows.rows, .sequences = 3, .backward = true}, NULL,
        &f.pass));
    f.collectors = collectors_new(f.model);
    return f;
}

static void fixture_free(struct fixture *f)
{
    collectors_free(f->collectors);
    cr_pass_free(f->pass);
    sample_free(&f->sample);
    cr_model_free(f->model);
    cr_compute_free(f->compute);
}

static double loss_of(struct fixture *f, float scale)
{
    double loss = 0;
    assert_ok(cr_pass_forward(f->pass, &f->collectors->tuned, &f->sample.rows, 0, f->model->config.layers));
    assert_ok(cr_pass_loss(f->pass, &f->collectors->tuned, &f->sample.rows, scale, &loss, NULL));
    return loss;
}

static double walk(struct fixture *f)
{
    double loss = loss_of(f, 1);
    assert_ok(cr_pass_backward(f->pass, &f->collectors->tuned, &f->sample.rows, 0, f->model->config.layers));
    return loss;
}

// Two models' gradients, bit for bit.
static void assert_same_gradients(const struct fixture *a, const struct fixture *b)
{
    for (size_t i = 0; i < a->collectors->parameters; i++)
        assert_memory_equal(a->collectors->gradient[i], b->collectors->gradient[i],
                            a->collectors->count[i] * sizeof(float));
}

// Along a random direction u in each parameter: (loss(w + h·u) − loss(w − h·u)) / 2h = gradient·u.
static void check_directions(struct cr_model_config config)
{
    struct fixture f = fixture_new(config, CR_F32, 1);
    walk(&f);
    uint64_t random = 11;
    for (size_t i = 0; i < f.model->parameter_count; i++) {
        size_t count = f.collectors->count[i];
        CR_FREE float *kept = NULL, *moved = NULL, *direction = NULL;
        assert_ok(cr_allocate(count, sizeof(float), &kept));
        assert_ok(cr_allocate(count, sizeof(float), &moved));
        assert_ok(cr_allocate(count, sizeof(float), &direction));
        cr_model_get(f.model, i, kept);
        double expected = 0, size = 0, h = 2e-3, loss[2];
        for (size_t j = 0; j < count; j++) {
            direction[j] = next_float(&random);
            // Mostly along the gradient: the difference then stands clear of fp32's rounding of the loss.
            direction[j] += 3 * (f.collectors->gradient[i][j] > 0 ? 1.f : -1.f);
            size += (double)direction[j] * (double)direction[j];
        }
        for (size_t j = 0; j < count; j++) {
            direction[j] /= (float)sqrt(size);
            expected += (double)direction[j] * (double)f.collectors->gradient[i][j];
        }
        for (int side = 0; side < 2; side++) {
            float step = (float)(side ? -h : h);
            for (size_t j = 0; j < count; j++) moved[j] = kept[j] + step * direction[j];
            assert_ok(cr_model_set(f.model, i, moved));
            loss[side] = loss_of(&f, 0);
        }
        assert_ok(cr_model_set(f.model, i, kept));
        double got = (loss[0] - loss[1]) / (2 * h);
        if (!(fabs(got - expected) < 0.01 * fabs(expected) + 0.01))
            fail_msg("%s: slope %g, gradient says %g", f.model->parameters[i].name, got, expected);
    }
    fixture_free(&f);
}

static void gradients_are_slopes(void **state)
{
    (void)state;
    check_directions(small_config());
}

static void gradients_are_slopes_with_a_tied_head_and_scaled_rotation(void **state)
{
    (void)state;
    struct cr_model_config config = small_config();
    config.tied_head = true;
    config.kv_heads = config.heads;
    config.rope = (struct cr_rope){.scaling = CR_ROPE_YARN,
                                   .theta = 100,
                                   .factor = 8,
                                   .first_pair = 0.5,
                                   .last_pair = 2.5,
                                   .amplitude = 1.3};
    check_directions(config);
}

static void gradients_are_slopes_with_biases_and_head_norms(void **state)
{
    (void)state;
    check_directions(config_with_biases_and_head_norms());
}

static void gradients_are_slopes_with_windows(void **state)
{
    (void)state;
    check_directions(config_with_windows());
}

static void gradients_are_slopes_in_gpt2(void **state)
{
    (void)state;
    struct cr_model_config config = gpt2_config();
    check_directions(config);
    config.tied_head = true;
    check_directions(config);
}

static void rows_of_logits(struct fixture *f, float *logits)
{
    uint32_t all[64];
    for (uint32_t i = 0; i < f->sample.rows.rows; i++) all[i] = i;
    assert_ok(cr_pass_logits(f->pass, all, f->sample.rows.rows, logits));
}

static void packed_sequences_equal_separate_ones(void **state)
{
    (void)state;
    struct fixture f = fixture_new(small_config(), CR_F32, 1);
    const size_t vocabulary = f.model->config.vocabulary;
    float together[64 * 37], alone[64 * 37];
    double loss = loss_of(&f, 0), sum = 0;
    rows_of_logits(&f, together);
    for (size_t s = 0; s < 3; s++) {
        size_t from = f.sample.offset[s], count = f.sample.offset[s + 1] - from;
        const size_t offset[2] = {0, count};
        struct cr_rows rows = {
            1, count, offset, f.sample.tokens + from, f.sample.position + from, f.sample.labels + from};
        assert_ok(cr_pass_forward(f.pass, NULL, &rows, 0, f.model->config.layers));
        assert_ok(cr_pass_loss(f.pass, NULL, &rows, 0, &sum, NULL));
        uint32_t row[64];
        for (uint32_t i = 0; i < count; i++) row[i] = i;
        assert_ok(cr_pass_logits(f.pass, row, count, alone));
        assert_memory_equal(alone, together + from * vocabulary, count * vocabulary * sizeof(float));
    }
    assert_true(fabs(sum - loss) < 1e-6 * loss);
    fixture_free(&f);
}

static void a_walk_in_two_parts_is_the_same_walk(void **state)
{
    (void)state;
    struct fixture whole = fixture_new(small_config(), CR_F32, 1);
    struct fixture parts = fixture_new(small_config(), CR_F32, 1);
    double loss = walk(&whole), again = 0;
    const struct cr_tuned *tuned = &parts.collectors->tuned;
    const struct cr_rows *rows = &parts.sample.rows;
    assert_ok(cr_pass_forward(parts.pass, tuned, rows, 0, 2));
    assert_ok(cr_pass_forward(parts.pass, tuned, rows, 2, 3));
    assert_ok(cr_pass_loss(parts.pass, tuned, rows, 1, &again, NULL));
    assert_ok(cr_pass_backward(parts.pass, tuned, rows, 1, 3));
    assert_ok(cr_pass_backward(parts.pass, tuned, rows, 0, 1));
    assert_true(loss == again);
    assert_same_gradients(&whole, &parts);
    fixture_free(&whole);
    fixture_free(&parts);
}

// The front in one pass, its stream carried over, the tail in another.
static void a_walk_in_two_passes_is_the_same_walk(void **state)
{
    (void)state;
    struct fixture f = fixture_new(small_config(), CR_F32, 1);
    const struct cr_rows *rows = &f.sample.rows;
    double loss = loss_of(&f, 0), again = 0;
    for (int backward = 0; backward < 2; backward++) {
        struct cr_pass *front, *tail;
        assert_ok(cr_pass_new(f.model, &(struct cr_pass_size){.rows = rows->rows + 5, .sequences = 3}, NULL,
                              &front));
        assert_ok(cr_pass_new(
            f.model, &(struct cr_pass_size){.rows = rows->rows, .sequences = 4, .backward = backward}, NULL,
            &tail));
        for (int batch = 0; batch < 2; batch++) {
            assert_ok(cr_pass_forward(front, NULL, rows, 0, 2));
            struct cr_matrix from = cr_matrix_rows(cr_pass_stream(front), 0, rows->rows);
            cr_copy_matrix(f.compute, from, cr_matrix_rows(cr_pass_stream(tail), 0, rows->rows));
            assert_ok(cr_pass_forward(tail, NULL, rows, 2, 3));
            again = 0;
            assert_ok(cr_pass_loss(tail, NULL, rows, 0, &again, NULL));
            assert_true(loss == again);
        }
        cr_pass_free(front);
        cr_pass_free(tail);
    }
    fixture_free(&f);
}

static void check_threads(struct cr_model_config config, enum cr_dtype act)
{
    struct fixture one = fixture_new(config, act, 1);
    struct fixture two = fixture_new(config, act, 2);
    double loss = walk(&one);
    assert_true(loss == walk(&two));
    assert_same_gradients(&one, &two);
    fixture_free(&one);
    fixture_free(&two);
}

static void threads_do_not_change_a_bit(void **state)
{
    (void)state;
    check_threads(config_with_biases_and_head_norms(), CR_F32);
    check_threads(gpt2_config(), CR_F32);
}

static void threads_do_not_change_a_bit_in_bf16(void **state)
{
    (void)state;
    check_threads(config_with_biases_and_head_norms(), CR_BF16);
    check_threads(gpt2_config(), CR_BF16);
}

static void check_bf16(struct cr_model_config config)
{
    struct fixture rough = fixture_new(config, CR_BF16, 1);
    struct fixture exact = fixture_new(config, CR_F32, 1);
    for (size_t i = 0; i < exact.collectors->parameters; i++) { // the same rounded weights
        CR_FREE float *values = NULL;
        assert_ok(cr_allocate(exact.collectors->count[i], sizeof *values, &values));
        cr_model_get(rough.model, i, values);
        assert_ok(cr_model_set(exact.model, i, values));
    }
    double loss = walk(&exact);
    assert_true(fabs(walk(&rough) - loss) < 0.005 * loss);
    for (size_t i = 0; i < exact.collectors->parameters; i++) {
        double difference = 0, size = 0;
        for (size_t j = 0; j < exact.collectors->count[i]; j++) {
            double a = (double)exact.collectors->gradient[i][j], b = (double)rough.collectors->gradient[i][j];
            difference += (a - b) * (a - b);
            size += a * a;
        }
        if (!(difference < 0.05 * 0.05 * size))
            fail_msg("%s: relative error %g", exact.model->parameters[i].name, sqrt(difference / size));
    }
    fixture_free(&rough);
    fixture_free(&exact);
}

static void bf16_is_close_to_fp32(void **state)
{
    (void)state;
    check_bf16(small_config());
    check_bf16(config_with_biases_and_head_norms());
    check_bf16(gpt2_config());
}

// What is tuned alone must get the gradient that it gets when all is tuned, whatever the way back leaves out.
static void check_stopping_early(struct cr_model_config config)
{
    struct fixture all = fixture_new(config, CR_F32, 1);
    walk(&all);
    for (size_t i = 0; i < all.model->parameter_count; i++) {
        struct fixture one = fixture_new(config, CR_F32, 1);
        struct cr_tuned everything = one.collectors->tuned;
        const struct cr_model_parameter *p = &one.model->parameters[i];
        struct cr_layer_tuning layers[3] = {0};
        struct cr_tuned *tuned = &one.collectors->tuned;
        *tuned = (struct cr_tuned){.layers = layers};
        float *gradient = one.collectors->gradient[i];
        float **target = cr_tuned_gradient(tuned, p);
        if (target)
            *target = gradient;
        else
            layers[p->layer].delta[p->module] = &one.collectors->modules[i].delta;
        walk(&one);
        if (memcmp(gradient, all.collectors->gradient[i], one.collectors->count[i] * sizeof(float)) != 0)
            fail_msg("%s: another gradient when it alone is tuned", p->name);
        *tuned = everything;
        fixture_free(&one);
    }
    fixture_free(&all);
}

static void stopping_early_changes_nothing(void **state)
{
    (void)state;
    check_stopping_early(config_with_biases_and_head_norms());
    check_stopping_early(gpt2_config());
}

// More labelled rows than the head takes at once: sixty copies of a sequence are sixty times its loss and
// gradients.
static void the_head_in_several_parts_is_one_head(void **state)
{
    (void)state;
    enum { COPIES = 60, LENGTH = 11 };
    struct fixture f = fixture_new(small_config(), CR_F32, 1);
    struct collectors *many_collectors = collectors_new(f.model);
    size_t many_lengths[COPIES];
    for (size_t i = 0; i < COPIES; i++) many_lengths[i] = LENGTH;
    struct sample one = random_sample(many_lengths, 1, 37, 3), many = sample_new(many_lengths, COPIES);
    for (size_t i = 0; i < many.rows.rows; i++) {
        many.tokens[i] = one.tokens[i % LENGTH];
        many.labels[i] = one.labels[i % LENGTH];
    }
    struct cr_pass *pass;
    assert_ok(cr_pass_new(
        f.model, &(struct cr_pass_size){.rows = many.rows.rows, .sequences = COPIES, .backward = true}, NULL,
        &pass));
    double loss[2] = {0};
    bool right[2][COPIES * LENGTH];
    const struct cr_rows *rows[2] = {&one.rows, &many.rows};
    const struct cr_tuned *tuned[2] = {&f.collectors->tuned, &many_collectors->tuned};
    for (size_t i = 0; i < 2; i++) {
        assert_ok(cr_pass_forward(pass, tuned[i], rows[i], 0, 3));
        assert_ok(cr_pass_loss(pass, tuned[i], rows[i], 1, &loss[i], right[i]));
        assert_ok(cr_pass_backward(pass, tuned[i], rows[i], 0, 3));
    }
    assert_true(fabs(loss[1] - COPIES * loss[0]) < 1e-5 * loss[1]);
    for (size_t i = 0; i < many.rows.rows; i++) assert_int_equal(right[1][i], right[0][i % LENGTH]);
    for (size_t i = 0; i < f.collectors->parameters; i++)
        for (size_t j = 0; j < f.collectors->count[i]; j++) {
            float expected = COPIES * f.collectors->gradient[i][j];
            assert_true(fabsf(many_collectors->gradient[i][j] - expected) < 1e-3f * (1 + fabsf(expected)));
        }
    sample_free(&one);
    sample_free(&many);
    cr_pass_free(pass);
    collectors_free(many_collectors);
    fixture_free(&f);
}

static void check_decoder(struct cr_model_config config)
{
    struct fixture f = fixture_new(config, CR_F32, 1);
    const size_t vocabulary = f.model->config.vocabulary;
    const size_t from = f.sample.offset[2], count = f.sample.offset[3] - from;
    float expected[64 * 37];
    loss_of(&f, 0);
    rows_of_logits(&f, expected);
    // The whole at once, then as prompt and single tokens.
    for (size_t prompt = count; prompt > 0; prompt = prompt == count ? 5 : 0) {
        struct cr_decoder *decoder;
        assert_ok(cr_decoder_new(f.model, &f.collectors->tuned, count, 1, &decoder));
        const float *logits;
        assert_ok(cr_decoder_feed(decoder, &(struct cr_feed){0, f.sample.tokens + from, prompt}, 1, &logits));
        for (size_t at = prompt;; at++) {
            const float *row = expected + (from + at - 1) * vocabulary;
            for (size_t i = 0; i < vocabulary; i++) assert_true(fabsf(row[i] - logits[i]) < 1e-4f);
            if (at == count) break;
            assert_ok(
                cr_decoder_feed(decoder, &(struct cr_feed){0, f.sample.tokens + from + at, 1}, 1, &logits));
        }
        assert_fails(CR_INVALID, "do not fit the context",
                     cr_decoder_feed(decoder, &(struct cr_feed){0, f.sample.tokens, 1}, 1, &logits));
        cr_decoder_free(decoder);
    }
    fixture_free(&f);
}

static void a_decoder_agrees_with_a_pass(void **state)
{
    (void)state;
    check_decoder(small_config());
    check_decoder(config_with_biases_and_head_norms());
    check_decoder(config_with_windows());
    check_decoder(gpt2_config());
}

// What follows a prompt that goes through in several parts is what follows it token by token.
static void a_long_prompt_goes_in_parts(void **state)
{
    (void)state;
    enum { PROMPT = 2 * CR_DECODER_ROWS + 90 };
    struct cr_model_config config = small_config();
    struct cr_compute *compute;
    float wanted[37];
    config.context = PROMPT;
    assert_ok(cr_compute_new(2, &compute));
    struct cr_model *model = random_model(compute, config, CR_F32);
    struct sample sample = random_sample((const size_t[]){PROMPT}, 1, config.vocabulary, 3);
    for (size_t part = 1; part <= PROMPT; part *= PROMPT) {
        struct cr_decoder *decoder;
        const float *logits;
        assert_ok(cr_decoder_new(model, NULL, PROMPT, 1, &decoder));
        for (size_t at = 0; at < PROMPT; at += part)
            assert_ok(cr_decoder_feed(decoder, &(struct cr_feed){0, sample.tokens + at, part}, 1, &logits));
        for (size_t i = 0; part > 1 && i < config.vocabulary; i++)
            assert_true(fabsf(logits[i] - wanted[i]) < 1e-4f);
        memcpy(wanted, logits, sizeof wanted);
        cr_decoder_free(decoder);
    }
    sample_free(&sample);
    cr_model_free(model);
    cr_compute_free(compute);
}

static void tokens_are_chosen_as_asked(void **state)
{
    (void)state;
    const float logits[4] = {0.5f, 2, 2, -1};
    assert_int_equal(cr_choose_token(logits, 4, 0, 0.9), 1);
    size_t drawn[4] = {0};
    for (int i = 0; i < 1000; i++) drawn[cr_choose_token(logits, 4, 0.5, i / 1000.0)]++;
    double sum = exp(1) + 2 * exp(4) + exp(-2);
    assert_true(fabs((double)drawn[0] / 1000 - exp(1) / sum) < 0.002);
    assert_true(fabs((double)drawn[1] / 1000 - exp(4) / sum) < 0.002);
    assert_true(fabs((double)drawn[3] / 1000 - exp(-2) / sum) < 0.002);
    assert_int_equal(cr_choose_token(logits, 4, 1e-6, 0.4), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gradients_are_slopes),
        cmocka_unit_test(gradients_are_slopes_with_a_tied_head_and_scaled_rotation),
        cmocka_unit_test(gradients_are_slopes_with_biases_and_head_norms),
        cmocka_unit_test(gradients_are_slopes_with_windows),
        cmocka_unit_test(gradients_are_slopes_in_gpt2),
        cmocka_unit_test(packed_sequences_equal_separate_ones),
        cmocka_unit_test(a_walk_in_two_parts_is_the_same_walk),
        cmocka_unit_test(a_walk_in_two_passes_is_the_same_walk),
        cmocka_unit_test(threads_do_not_change_a_bit),
        cmocka_unit_test(threads_do_not_change_a_bit_in_bf16),
        cmocka_unit_test(bf16_is_close_to_fp32),
        cmocka_unit_test(stopping_early_changes_nothing),
        cmocka_unit_test(the_head_in_several_parts_is_one_head),
        cmocka_unit_test(a_decoder_agrees_with_a_pass),
        cmocka_unit_test(a_long_prompt_goes_in_parts),
        cmocka_unit_test(tokens_are_chosen_as_asked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
