// tuning/: schedules, optimisers and clipping against formulas and against values of
// transformers.get_scheduler.
#include "support.h"

#include "tuning/optimizer.h"
#include "tuning/schedule.h"

#include <math.h>

static struct cr_training_config settings(int schedule, size_t warmup)
{
    return (struct cr_training_config){
        .optim = CR_OPTIMIZER_ADAMW,
        .learning_rate = 0.01,
        .weight_decay = 0.1,
        .adam_beta1 = 0.9,
        .adam_beta2 = 0.99,
        .adam_epsilon = 1e-8,
        .lr_scheduler_type = schedule,
        .warmup_steps = warmup,
        .per_device_train_batch_size = 4,
        .gradient_accumulation_steps = 3,
    };
}

static void schedules_are_those_of_transformers(void **state)
{
    (void)state;
    static const struct {
        int kind;
        size_t warmup;
        double rates[10];
    } cases[] = {
        {CR_SCHEDULE_LINEAR, 0, {0.01, 0.009, 0.008, 0.007, 0.006, 0.005, 0.004, 0.003, 0.002, 0.001}},
        {CR_SCHEDULE_LINEAR,
         3,
         {0, 0.0033333333333333331, 0.0066666666666666662, 0.01, 0.0085714285714285719, 0.0071428571428571435,
          0.0057142857142857143, 0.0042857142857142859, 0.0028571428571428571, 0.0014285714285714286}},
        {CR_SCHEDULE_COSINE,
         0,
         {0.01, 0.0097552825814757691, 0.009045084971874737, 0.0079389262614623663, 0.0065450849718747374,
          0.0050000000000000001, 0.0034549150281252632, 0.0020610737385376348, 0.00095491502812526327,
          0.00024471741852423234}},
        {CR_SCHEDULE_COSINE,
         3,
         {0, 0.0033333333333333331, 0.0066666666666666662, 0.01, 0.0095048443395120957, 0.0081174490092936688,
          0.006112604669781572, 0.0038873953302184282, 0.0018825509907063327, 0.00049515566048790487}},
        {CR_SCHEDULE_CONSTANT, 0, {0.01, 0.01, 0.01, 0.01, 0.01, 0.01, 0.01, 0.01, 0.01, 0.01}},
        {CR_SCHEDULE_CONSTANT, 3, {0.01, 0.01, 0.01, 0.01, 0.01, 0.01, 0.01, 0.01, 0.01, 0.01}},
        {CR_SCHEDULE_CONSTANT_WITH_WARMUP,
         3,
         {0, 0.0033333333333333331, 0.0066666666666666662, 0.01, 0.01, 0.01, 0.01, 0.01, 0.01, 0.01}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct cr_training_config training = settings(cases[i].kind, cases[i].warmup);
        for (size_t step = 0; step < 10; step++)
            assert_true(fabs(cr_learning_rate(&training, step, 10) - cases[i].rates[step]) < 1e-16);
    }
    // A single step, and a single one after the warm-up, are at the whole rate.
    static const int falling[] = {CR_SCHEDULE_LINEAR, CR_SCHEDULE_COSINE};
    for (size_t i = 0; i < 2; i++)
        for (size_t warmup = 0; warmup < 3; warmup++) {
            struct cr_training_config training = settings(falling[i], warmup);
            assert_true(cr_learning_rate(&training, warmup, warmup + 1) == 0.01);
        }
}

static void steps_are_counted_as_transformers_does(void **state)
{
    (void)state;
    struct cr_training_config training = settings(CR_SCHEDULE_LINEAR, 0);
    assert_int_equal(cr_steps_per_epoch(&training, 12), 1);
    assert_int_equal(cr_steps_per_epoch(&training, 13), 2);
    assert_int_equal(cr_steps_per_epoch(&training, 1), 1);
    // 13 examples are four batches, the last one in a group of its own.
    static const double epochs[] = {0, 0.75, 1, 1.75, 2};
    for (size_t i = 0; i < sizeof epochs / sizeof *epochs; i++)
        assert_true(cr_epochs_done(&training, 13, i) == epochs[i]);
    training.num_train_epochs = 1.5;
    assert_int_equal(cr_steps_in_all(&training, 13), 3);
    training.num_train_epochs = 0.1;
    assert_int_equal(cr_steps_in_all(&training, 13), 1);
    training.max_steps = 7;
    assert_int_equal(cr_steps_in_all(&training, 13), 7);
}

// A matrix of two and a norm of one, with the gradient 1, −2, 0.5.
static void make_parameters(struct cr_parameters *parameters)
{
    assert_ok(cr_parameters_add(parameters, "model.layers.0.mlp.up_proj.weight", 1, 2));
    assert_ok(cr_parameters_add(parameters, "model.layers.0.input_layernorm.weight", 1, 0));
    assert_ok(cr_parameters_commit(parameters, true));
    static const float values[] = {0.5f, -0.25f, 1}, gradients[] = {1, -2, 0.5f};
    memcpy(parameters->values, values, sizeof values);
    memcpy(parameters->gradients, gradients, sizeof gradients);
}

static void decay_spares_norms_and_biases(void **state)
{
    (void)state;
    assert_true(cr_parameter_decays("model.layers.0.self_attn.q_proj.weight"));
    assert_true(cr_parameter_decays("base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"));
    assert_true(cr_parameter_decays("model.embed_tokens.weight"));
    assert_false(cr_parameter_decays("model.layers.0.post_attention_layernorm.weight"));
    assert_false(cr_parameter_decays("model.norm.weight"));
    assert_false(cr_parameter_decays("transformer.h.0.ln_1.weight"));
    assert_false(cr_parameter_decays("transformer.ln_f.weight"));
    assert_true(cr_parameter_decays("transformer.wpe.weight"));
    assert_false(cr_parameter_decays("model.layers.0.self_attn.q_norm.weight"));
    assert_false(cr_parameter_decays("model.layers.0.self_attn.q_proj.bias"));
}

static void adamw_follows_its_formula(void **state)
{
    (void)state;
    struct cr_compute *compute;
    assert_ok(cr_compute_new(1, &compute));
    struct cr_training_config training = settings(CR_SCHEDULE_CONSTANT, 0);
    struct cr_parameters parameters = {0};
    make_parameters(&parameters);
    struct cr_optimizer_state optimizer;
    assert_ok(cr_optimizer_init(&optimizer, &training, parameters.count));
    double value[3] = {0.5, -0.25, 1}, first[3] = {0}, second[3] = {0};
    for (int step = 1; step <= 5; step++) {
        cr_optimizer_update(&optimizer, compute, &training, 0.01, &parameters);
        for (int i = 0; i < 3; i++) {
            double gradient = parameters.gradients[i], decay = i < 2 ? 0.1 : 0;
            value[i] *= 1 - 0.01 * decay;
            first[i] = 0.9 * first[i] + 0.1 * gradient;
            second[i] = 0.99 * second[i] + 0.01 * gradient * gradient;
            double root = sqrt(second[i] / (1 - pow(0.99, step)));
            value[i] -= 0.01 * (first[i] / (1 - pow(0.9, step))) / (root + 1e-8);
            assert_true(fabs(value[i] - (double)parameters.values[i]) < 1e-6);
        }
        for (int i = 0; i < 3; i++) parameters.gradients[i] *= -0.7f;
    }
    cr_optimizer_reset(&optimizer);
    assert_int_equal(optimizer.steps, 0);
    for (int i = 0; i < 3; i++) assert_true(optimizer.moments[0][i] == 0 && optimizer.moments[1][i] == 0);
    cr_optimizer_release(&optimizer);
    cr_parameters_release(&parameters);
    cr_compute_free(compute);
}

static void sgd_follows_its_formula(void **state)
{
    (void)state;
    struct cr_compute *compute;
    assert_ok(cr_compute_new(1, &compute));
    for (int with_momentum = 0; with_momentum < 2; with_momentum++) {
        struct cr_training_config training = settings(CR_SCHEDULE_CONSTANT, 0);
        training.optim = CR_OPTIMIZER_SGD;
        training.momentum = with_momentum > 0 ? 0.8 : 0;
        struct cr_parameters parameters = {0};
        make_parameters(&parameters);
        struct cr_optimizer_state optimizer;
        assert_ok(cr_optimizer_init(&optimizer, &training, parameters.count));
        assert_int_equal(optimizer.moment_count, (size_t)with_momentum);
        double value[3] = {0.5, -0.25, 1}, buffer[3] = {0};
        for (int step = 0; step < 4; step++) {
            cr_optimizer_update(&optimizer, compute, &training, 0.05, &parameters);
            for (int i = 0; i < 3; i++) {
                double decay = i < 2 ? 0.1 : 0;
                buffer[i] =
                    training.momentum * buffer[i] + (double)parameters.gradients[i] + decay * value[i];
                value[i] -= 0.05 * buffer[i];
                assert_true(fabs(value[i] - (double)parameters.values[i]) < 1e-6);
            }
        }
        cr_optimizer_release(&optimizer);
        cr_parameters_release(&parameters);
    }
    cr_compute_free(compute);
}

static void clipping_is_that_of_torch(void **state)
{
    (void)state;
    struct cr_compute *compute;
    assert_ok(cr_compute_new(1, &compute));
    struct cr_parameters parameters = {0};
    make_parameters(&parameters);
    double norm = sqrt(1 + 4 + 0.25);
    assert_true(fabs(cr_gradient_clip(compute, &parameters, 0) - norm) < 1e-12);
    assert_true(fabs(cr_gradient_clip(compute, &parameters, 3) - norm) < 1e-12);
    assert_true(parameters.gradients[1] == -2); // both left it alone
    assert_true(fabs(cr_gradient_clip(compute, &parameters, 1) - norm) < 1e-12);
    assert_true(fabs((double)parameters.gradients[1] + 2 / (norm + 1e-6)) < 1e-6);
    parameters.gradients[0] = NAN;
    parameters.gradients[1] = 3;
    assert_true(!isfinite(cr_gradient_clip(compute, &parameters, 1)));
    assert_true(parameters.gradients[1] == 3);
    for (int i = 0; i < 3; i++)
        parameters.gradients[i] = (float)i * 2e-6f; // a norm that torch's 1e-6 weighs beside
    norm = cr_gradient_clip(compute, &parameters, 1e-6);
    assert_true(fabs((double)parameters.gradients[2] - 4e-6 / (norm / 1e-6 + 1)) < 1e-12);
    cr_parameters_release(&parameters);
    cr_compute_free(compute);
}

static void parameters_refuse_misuse(void **state)
{
    (void)state;
    struct cr_parameters parameters = {0};
    assert_fails(CR_NO_MEMORY, "huge", cr_parameters_add(&parameters, "huge", SIZE_MAX / 2, 4));
    make_parameters(&parameters);
    assert_int_equal(parameters.items[1].offset, 2);
    assert_int_equal(parameters.items[1].rank, 1);
    assert_ptr_equal(cr_parameters_find(&parameters, "model.layers.0.input_layernorm.weight"),
                     &parameters.items[1]);
    assert_null(cr_parameters_find(&parameters, "model"));
    assert_fails(CR_INTERNAL, "after the commit", cr_parameters_add(&parameters, "late", 1, 1));
    cr_parameters_release(&parameters);
    assert_null(parameters.values);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(schedules_are_those_of_transformers),
        cmocka_unit_test(steps_are_counted_as_transformers_does),
        cmocka_unit_test(decay_spares_norms_and_biases),
        cmocka_unit_test(adamw_follows_its_formula),
        cmocka_unit_test(sgd_follows_its_formula),
        cmocka_unit_test(clipping_is_that_of_torch),
        cmocka_unit_test(parameters_refuse_misuse),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
