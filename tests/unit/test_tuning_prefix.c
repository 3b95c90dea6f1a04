// tuning/: prefixes before every sequence: gradients against finite differences; what packing, cutting into
// tokens and the number of threads must not change; where nothing is said before.
#include "model_support.h"

#include "tuning/prefix.h"

enum { TOKENS = 3 };

static const size_t lengths[] = {9, 1, 70}; // more than one tile of attention

struct fixture {
    struct cr_compute *compute;
    struct cr_model *model;
    struct sample sample;
    struct cr_structure *prefix;
    struct cr_pass *pass;
};

static const struct cr_prefix_config plain = {.num_virtual_tokens = TOKENS};
static const struct cr_prefix_config projected = {
    .num_virtual_tokens = TOKENS, .prefix_projection = true, .encoder_hidden_size = 7};

static struct fixture fixture_new(const struct cr_prefix_config *config, enum cr_dtype act, size_t threads)
{
    struct fixture f;
    struct cr_model_config shape = small_config();
    shape.context = 128;
    shape.qkv_bias = shape.head_norms = true;
    shape.window = 5; // virtual tokens leave it as others do
    shape.windowed[0] = 1 << 1;
    f.compute = compute_in(act, threads);
    f.model = random_model(f.compute, shape, act);
    f.sample = random_sample(lengths, 3, shape.vocabulary, 5);
    assert_ok(cr_prefix_new(config, f.model, true, &f.prefix));
    assert_ok(cr_prefix_initialise(f.prefix, 3));
    assert_ok(cr_pass_new(
        f.model,
        &(struct cr_pass_size){
            .rows = f.sample.rows.rows, .sequences = 3, .prefix = f.prefix->tuned.prefix, .backward = true},
        NULL, &f.pass));
    return f;
}

static void fixture_free(struct fixture *f)
{
    cr_pass_free(f->pass);
    cr_structure_free(f->prefix);
    sample_free(&f->sample);
    cr_model_free(f->model);
    cr_compute_free(f->compute);
}

static double loss_of(struct fixture *f, float scale)
{
    double loss = 0;
    assert_ok(f->prefix->kind->refresh(f->prefix));
    assert_ok(cr_pass_forward(f->pass, &f->prefix->tuned, &f->sample.rows, 0, 3));
    assert_ok(cr_pass_loss(f->pass, &f->prefix->tuned, &f->sample.rows, scale, &loss, NULL));
    return loss;
}

static void step(struct fixture *f)
{
    loss_of(f, 1);
    assert_ok(cr_pass_backward(f->pass, &f->prefix->tuned, &f->sample.rows, 0, 3));
    assert_ok(f->prefix->kind->finish_gradient(f->prefix));
}

// Each value of each tensor in turn, mostly: (loss(w + h) − loss(w − h)) / 2h is its gradient.
static void check_slopes(const struct cr_prefix_config *config)
{
    struct fixture f = fixture_new(config, CR_F32, 2);
    struct cr_parameters *parameters = &f.prefix->parameters;
    step(&f);
    double worst = 0, largest = 0;
    for (size_t i = 0; i < parameters->count; i++)
        largest = fmax(largest, fabs((double)parameters->gradients[i]));
    for (size_t i = 0; i < parameters->count; i += 5) {
        float kept = parameters->values[i], h = 1e-2f;
        double loss[2];
        for (int side = 0; side < 2; side++) {
            parameters->values[i] = side ? kept - h : kept + h;
            loss[side] = loss_of(&f, 0);
        }
        parameters->values[i] = kept;
        double slope = (loss[0] - loss[1]) / (2 * (double)h);
        worst = fmax(worst, fabs(slope - (double)parameters->gradients[i]));
    }
    print_message("%zu values: slopes within %.1e of gradients up to %.1f\n", parameters->count, worst,
                  largest);
    assert_true(largest > 0.2);
    assert_true(worst < 0.01 * largest);
    fixture_free(&f);
}

static void gradients_are_slopes(void **state)
{
    (void)state;
    check_slopes(&plain);
}

static void gradients_of_a_projection_are_slopes(void **state)
{
    (void)state;
    check_slopes(&projected);
}

static void a_second_micro_batch_adds_its_gradient(void **state)
{
    (void)state;
    const struct cr_prefix_config *const configs[] = {&plain, &projected};
    for (size_t i = 0; i < 2; i++) {
        struct fixture f = fixture_new(configs[i], CR_F32, 1);
        struct cr_parameters *parameters = &f.prefix->parameters;
        CR_FREE float *once = NULL;
        assert_ok(cr_allocate(parameters->count, sizeof *once, &once));
        step(&f);
        memcpy(once, parameters->gradients, parameters->count * sizeof *once);
        cr_parameters_zero_gradients(parameters);
        loss_of(&f, 1);
        for (size_t k = 0; k < 2; k++) {
            double loss = 0;
            assert_ok(cr_pass_forward(f.pass, &f.prefix->tuned, &f.sample.rows, 0, 3));
            assert_ok(cr_pass_loss(f.pass, &f.prefix->tuned, &f.sample.rows, 1, &loss, NULL));
            assert_ok(cr_pass_backward(f.pass, &f.prefix->tuned, &f.sample.rows, 0, 3));
        }
        assert_ok(f.prefix->kind->finish_gradient(f.prefix));
        for (size_t k = 0; k < parameters->count; k++)
            assert_true(fabsf(parameters->gradients[k] - 2 * once[k]) <= 1e-4f * (1 + fabsf(once[k])));
        fixture_free(&f);
    }
}

static void gradients_do_not_depend_on_threads(void **state)
{
    (void)state;
    for (int act = 0; act < 2; act++) {
        struct fixture one = fixture_new(&projected, act ? CR_BF16 : CR_F32, 1);
        struct fixture many = fixture_new(&projected, act ? CR_BF16 : CR_F32, 3);
        step(&one);
        step(&many);
        assert_memory_equal(one.prefix->parameters.gradients, many.prefix->parameters.gradients,
                            one.prefix->parameters.count * sizeof(float));
        fixture_free(&one);
        fixture_free(&many);
    }
}

// A pass that is just large enough has room for what comes before as well, here the one key too many for a
// tile.
static void room_to_spare_changes_nothing(void **state)
{
    (void)state;
    static const size_t length = 62, rows[] = {62, 200};
    struct fixture f[2];
    for (size_t i = 0; i < 2; i++) {
        f[i] = fixture_new(&plain, CR_F32, 1);
        sample_free(&f[i].sample);
        cr_pass_free(f[i].pass);
        f[i].sample = random_sample(&length, 1, f[i].model->config.vocabulary, 5);
        const struct cr_pass_size size = {
            .rows = rows[i], .sequences = 1, .prefix = f[i].prefix->tuned.prefix, .backward = true};
        assert_ok(cr_pass_new(f[i].model, &size, NULL, &f[i].pass));
        step(&f[i]);
    }
    assert_memory_equal(f[0].prefix->parameters.gradients, f[1].prefix->parameters.gradients,
                        f[0].prefix->parameters.count * sizeof(float));
    for (size_t i = 0; i < 2; i++) fixture_free(&f[i]);
}

static void logits_of(struct fixture *f, float *logits)
{
    CR_FREE uint32_t *row = NULL;
    assert_ok(cr_allocate(f->sample.rows.rows, sizeof *row, &row));
    for (uint32_t i = 0; i < f->sample.rows.rows; i++) row[i] = i;
    loss_of(f, 0);
    assert_ok(cr_pass_logits(f->pass, row, f->sample.rows.rows, logits));
}

static void a_sequence_does_not_see_its_neighbours(void **state)
{
    (void)state;
    struct fixture f = fixture_new(&plain, CR_F32, 2);
    static float together[80 * 37], alone[80 * 37];
    logits_of(&f, together);
    for (size_t s = 0; s < 3; s++) {
        size_t first = f.sample.offset[s], count = f.sample.offset[s + 1] - first;
        size_t offset[] = {0, count};
        struct sample whole = f.sample;
        f.sample.rows = (struct cr_rows){
            1, count, offset, whole.tokens + first, whole.position + first, whole.labels + first};
        logits_of(&f, alone);
        f.sample = whole;
        assert_memory_equal(alone, together + first * 37, count * 37 * sizeof(float));
    }
    fixture_free(&f);
}

static void a_decoder_is_a_pass(void **state)
{
    (void)state;
    struct fixture f = fixture_new(&plain, CR_F32, 2);
    static float expected[80 * 37];
    logits_of(&f, expected);
    size_t from = f.sample.offset[2], count = f.sample.offset[3] - from;
    struct cr_decoder *decoder;
    assert_ok(cr_decoder_new(f.model, &f.prefix->tuned, count, 1, &decoder));
    const float *logits;
    for (size_t at = 0, part = 11; at < count; part = 1) {
        assert_ok(
            cr_decoder_feed(decoder, &(struct cr_feed){0, f.sample.tokens + from + at, part}, 1, &logits));
        at += part;
        const float *row = expected + (from + at - 1) * 37;
        for (size_t i = 0; i < 37; i++) assert_true(fabsf(row[i] - logits[i]) < 1e-4f);
    }
    assert_fails(CR_INVALID, "do not fit the context",
                 cr_decoder_feed(decoder, &(struct cr_feed){0, f.sample.tokens, 1}, 1, &logits));
    assert_fails(CR_INVALID, "token 37 is outside",
                 cr_decoder_feed(decoder, &(struct cr_feed){0, (const uint32_t[]){37}, 1}, 1, &logits));
    cr_decoder_free(decoder);
    fixture_free(&f);
}

// With a context of 128 tokens, three of them virtual.
static void the_prefix_takes_its_part_of_the_context(void **state)
{
    (void)state;
    struct fixture f = fixture_new(&plain, CR_F32, 1);
    struct cr_decoder *decoder;
    struct cr_pass *pass;
    struct cr_structure *prefix;
    assert_ok(cr_decoder_new(f.model, &f.prefix->tuned, 125, 1, &decoder));
    cr_decoder_free(decoder);
    assert_fails(CR_INVALID, "a prefix of 3", cr_decoder_new(f.model, &f.prefix->tuned, 126, 1, &decoder));
    struct cr_tuned wide = f.prefix->tuned;
    wide.prefix = 100;
    assert_ok(cr_pass_new(f.model, &(struct cr_pass_size){.rows = 200, .sequences = 3, .prefix = 100}, NULL,
                          &pass));
    assert_fails(CR_INTERNAL, "a prefix of 3 in a pass made for one of 100",
                 cr_pass_forward(pass, &f.prefix->tuned, &f.sample.rows, 0, 3));
    assert_fails(CR_INVALID, "position 28 is outside the model's context",
                 cr_pass_forward(pass, &wide, &f.sample.rows, 0, 3));
    cr_pass_free(pass);
    assert_fails(
        CR_INVALID, "leaves no room",
        cr_pass_new(f.model, &(struct cr_pass_size){.rows = 8, .sequences = 2, .prefix = 128}, NULL, &pass));
    struct cr_prefix_config config = {.num_virtual_tokens = 128};
    assert_fails(CR_INVALID, "num_virtual_tokens: 128", cr_prefix_new(&config, f.model, true, &prefix));
    fixture_free(&f);
}

// PyTorch's bounds are of a linear's weight and bias alike, but not the numbers drawn within.
static void a_projection_begins_with_numbers_of_its_own(void **state)
{
    (void)state;
    struct fixture f = fixture_new(&projected, CR_F32, 1);
    const struct cr_parameters *parameters = &f.prefix->parameters;
    const struct cr_parameter *weight = cr_parameters_find(parameters, "prompt_encoder.transform.0.weight");
    const struct cr_parameter *bias = cr_parameters_find(parameters, "prompt_encoder.transform.0.bias");
    float bound = 1 / sqrtf((float)weight->shape[1]);
    for (size_t i = 0; i < weight->count + bias->count; i++) // which lie one after the other
        assert_true(fabsf(parameters->values[weight->offset + i]) <= bound);
    assert_memory_not_equal(parameters->values + weight->offset, parameters->values + bias->offset,
                            bias->count * sizeof(float));
    fixture_free(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gradients_are_slopes),
        cmocka_unit_test(gradients_of_a_projection_are_slopes),
        cmocka_unit_test(a_second_micro_batch_adds_its_gradient),
        cmocka_unit_test(gradients_do_not_depend_on_threads),
        cmocka_unit_test(room_to_spare_changes_nothing),
        cmocka_unit_test(a_sequence_does_not_see_its_neighbours),
        cmocka_unit_test(a_decoder_is_a_pass),
        cmocka_unit_test(the_prefix_takes_its_part_of_the_context),
        cmocka_unit_test(a_projection_begins_with_numbers_of_its_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
