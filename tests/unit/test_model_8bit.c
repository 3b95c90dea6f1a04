// A base in int8 is the base of its rounded weights: the same walk over scale·q in fp32 gives the same logits
// and gradients.
#include "model_support.h"

#include "field/quantize.h"
#include "model/exact.h"

static const char *const directories[] = {"tests/golden/llama-gqa", "tests/golden/qwen2-untied",
                                          "tests/golden/gpt2-untied", "tests/golden/llama-f16-shards"};

// Loss; logits of every row and the gradient of the embedding go to the caller's.
static double walk_through(struct cr_model *model, float *logits, float **gradient, size_t *count)
{
    const size_t lengths[] = {9, 1, 20};
    struct sample sample = sample_new(lengths, 3);
    for (size_t i = 0; i < 30; i++) {
        sample.tokens[i] = (uint32_t)(i * 7 % model->config.vocabulary);
        sample.labels[i] = (int32_t)(i * 5 % model->config.vocabulary);
    }
    struct cr_pass *pass;
    uint32_t all[30];
    for (uint32_t i = 0; i < 30; i++) all[i] = i;
    assert_ok(cr_pass_new(model, &(struct cr_pass_size){.rows = 30, .sequences = 3, .backward = true}, NULL,
                          &pass));
    struct collectors *collectors = collectors_new(model);
    double loss = 0;
    assert_ok(cr_pass_forward(pass, &collectors->tuned, &sample.rows, 0, model->config.layers));
    assert_ok(cr_pass_logits(pass, all, 30, logits));
    assert_ok(cr_pass_loss(pass, &collectors->tuned, &sample.rows, 1, &loss, NULL));
    assert_ok(cr_pass_backward(pass, &collectors->tuned, &sample.rows, 0, model->config.layers));
    size_t i = 0; // what reaches it went back through every linear
    *count = collectors->count[i];
    assert_ok(cr_allocate(*count, sizeof(float), gradient));
    memcpy(*gradient, collectors->gradient[i], *count * sizeof(float));
    collectors_free(collectors);
    cr_pass_free(pass);
    sample_free(&sample);
    return loss;
}

static double distance(const float *a, const float *b, size_t count)
{
    double difference = 0, size = 0;
    for (size_t i = 0; i < count; i++) {
        difference += ((double)a[i] - (double)b[i]) * ((double)a[i] - (double)b[i]);
        size += (double)b[i] * (double)b[i];
    }
    return sqrt(difference / size);
}

static void check(const char *directory, enum cr_isa isa, enum cr_dtype act)
{
    struct cr_compute *compute;
    enum cr_status status = cr_compute_new_with(2, isa, &compute);
    if (status == CR_UNSUPPORTED) return;
    assert_ok(status);
    if (act == CR_BF16 && !cr_compute_has_bf16(compute)) {
        cr_compute_free(compute);
        return;
    }
    struct cr_model *quantized, *rounded;
    assert_ok(cr_model_open(directory, CR_MODEL_IN_8BIT, NULL, compute, act, &quantized));
    assert_ok(cr_model_open(directory, CR_MODEL_TRAINABLE, NULL, compute, CR_F32, &rounded));
    size_t in_8bit = 0;
    for (size_t i = 0; i < quantized->parameter_count; i++) {
        const struct cr_model_parameter *parameter = &quantized->parameters[i];
        size_t values = parameter->rows * (parameter->columns ? parameter->columns : 1);
        CR_FREE float *w = NULL, *exact = NULL;
        assert_ok(cr_allocate(values, sizeof *w, &w));
        assert_ok(cr_allocate(values, sizeof *w, &exact));
        cr_model_get(quantized, i, w);
        cr_model_get(rounded, i, exact);
        bool linear = parameter->kind == CR_PARAMETER_MODULE || parameter->kind == CR_PARAMETER_HEAD;
        assert_int_equal(linear, parameter->place.dtype == CR_I8);
        if (linear) { // what lies there is what quantising the checkpoint's rows gives
            CR_FREE int8_t *q = NULL;
            CR_FREE float *scale = NULL;
            assert_ok(cr_allocate(values, 1, &q));
            assert_ok(cr_allocate(parameter->rows, sizeof *scale, &scale));
            assert_ok(cr_quantize_rows(compute, exact, parameter->rows, parameter->columns, q, scale, NULL));
            assert_memory_equal(q, parameter->place.data, values);
            assert_memory_equal(scale, parameter->place.scale, parameter->rows * sizeof *scale);
            in_8bit++;
        }
        assert_ok(cr_model_set(rounded, i, w));
    }
    assert_true(in_8bit > 0);
    CR_FREE float *logits = NULL, *wanted = NULL, *gradient = NULL, *wanted_gradient = NULL;
    size_t count, size = 30 * quantized->config.vocabulary;
    assert_ok(cr_allocate(size, sizeof *logits, &logits));
    assert_ok(cr_allocate(size, sizeof *logits, &wanted));
    double loss = walk_through(quantized, logits, &gradient, &count);
    double wanted_loss = walk_through(rounded, wanted, &wanted_gradient, &count);
    double bound = act == CR_F32 ? 1e-5 : 0.03;
    assert_true(fabs(loss / wanted_loss - 1) < bound);
    if (!(distance(logits, wanted, size) < bound && distance(gradient, wanted_gradient, count) < bound))
        fail_msg("%s: logits differ by %g, gradients by %g", directory, distance(logits, wanted, size),
                 distance(gradient, wanted_gradient, count));
    cr_model_free(quantized);
    cr_model_free(rounded);
    cr_compute_free(compute);
}

static void an_8bit_base_is_the_base_of_its_rounded_weights(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof directories / sizeof *directories; i++)
        for (int isa = CR_ISA_SCALAR; isa <= CR_ISA_AMX; isa++) {
            check(directories[i], (enum cr_isa)isa, CR_F32);
            check(directories[i], (enum cr_isa)isa, CR_BF16);
        }
}

// model/exact.h: rows that are multiplied together have the bits that each has alone.
static void a_row_of_an_exact_product_does_not_depend_on_others(void **state)
{
    (void)state;
    enum { MANY = 300, OUT = 45, IN = 70 };
    static float w[OUT * IN], x[MANY * IN], together[MANY * OUT], alone[OUT];
    static int8_t numbers[OUT * IN];
    static float scale[OUT];
    uint64_t random = 5;
    struct cr_compute *compute;
    struct cr_exact *exact;
    struct cr_bound bounds[1];
    for (size_t i = 0; i < OUT * IN; i++) w[i] = next_float(&random);
    for (size_t i = 0; i < MANY * IN; i++) x[i] = next_float(&random);
    assert_ok(cr_compute_new(2, &compute));
    assert_ok(cr_quantize_rows(compute, w, OUT, IN, numbers, scale, NULL));
    struct cr_matrix q = cr_matrix_of(numbers, CR_I8, OUT, IN);
    q.scale = scale;
    assert_int_equal(cr_bound_parts(IN, false), 1);
    assert_ok(cr_exact_new(compute, IN, &exact));
    assert_ok(cr_exact_bound(q, bounds));
    assert_ok(cr_exact_forward(exact, bounds, q, cr_matrix_of(x, CR_F32, MANY, IN),
                               cr_matrix_of(together, CR_F32, MANY, OUT)));
    for (size_t i = 0; i < MANY; i++) {
        assert_ok(cr_exact_forward(exact, bounds, q, cr_matrix_of(x + i * IN, CR_F32, 1, IN),
                                   cr_matrix_of(alone, CR_F32, 1, OUT)));
        assert_memory_equal(together + i * OUT, alone, sizeof alone);
    }
    static const float bad[] = {NAN, INFINITY, -INFINITY};
    for (size_t i = 0; i < 3; i++) {
        x[(MANY - 1) * IN + i] = bad[i];
        assert_fails(CR_INVALID, "a row holds NaN or infinity",
                     cr_exact_forward(exact, bounds, q, cr_matrix_of(x, CR_F32, MANY, IN),
                                      cr_matrix_of(together, CR_F32, MANY, OUT)));
        x[(MANY - 1) * IN + i] = 0;
    }
    cr_exact_free(exact);
    cr_compute_free(compute);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_8bit_base_is_the_base_of_its_rounded_weights),
        cmocka_unit_test(a_row_of_an_exact_product_does_not_depend_on_others),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
