// What a federation with slicing refuses and keeps to itself, and that one without does neither.
#include "support.h"

#include "federation/discretion.h"

static struct cr_config settings(bool sliced, double rate)
{
    struct cr_config config = {0};
    config.tuning.slicing.pads = sliced ? CR_PADS_MODE_ENCLAVE : CR_PADS_MODE_NONE;
    config.tuning.training.learning_rate = rate;
    config.tuning.training.lr_scheduler_type = CR_SCHEDULE_LINEAR;
    config.federation.rounds = 10;
    return config;
}

static void test_rates(void **state)
{
    (void)state;
    struct cr_config config = settings(true, CR_LEAST_LEARNING_RATE);
    assert_ok(cr_discretion_check(&config));
    config.tuning.training.learning_rate = 0.999e-6;
    assert_fails(CR_INVALID, "training.learning_rate: 9.99e-07", cr_discretion_check(&config));
    // A round's highest rate is at its first step: of 100 steps the last round begins with a tenth.
    config.tuning.training.learning_rate = 1.001e-5;
    assert_ok(cr_discretion_check_rounds(&config, 100));
    config.tuning.training.learning_rate = 0.999e-5;
    assert_fails(CR_INVALID, "round 10 is 9.99e-07 at most", cr_discretion_check_rounds(&config, 100));
    // In a warm-up it is at the last: step 9 of 100 in the first round.
    config = settings(true, 1.2e-5);
    config.tuning.training.warmup_steps = 100;
    config.tuning.training.lr_scheduler_type = CR_SCHEDULE_CONSTANT_WITH_WARMUP;
    assert_ok(cr_discretion_check_rounds(&config, 100));
    config.tuning.training.learning_rate = 1.1e-5;
    assert_fails(CR_INVALID, "round 1 is 9.9e-07 at most", cr_discretion_check_rounds(&config, 100));
    // Where the warm-up ends within a round, the whole rate is.
    config.tuning.training.warmup_steps = 9;
    config.tuning.training.learning_rate = 1e-6;
    assert_ok(cr_discretion_check_rounds(&config, 100));
    config = settings(false, 0);
    assert_ok(cr_discretion_check(&config));
    assert_ok(cr_discretion_check_rounds(&config, 100));
}

static void test_what_is_told(void **state)
{
    (void)state;
    const struct cr_event_field told[] = {CR_FIELD("step", 1), CR_FIELD("loss", 2), CR_FIELD("grad_norm", 3),
                                          CR_FIELD("eta", 4)};
    const struct cr_event step = {CR_EVENT_INFO, "train.step", NULL, told, 4};
    const struct cr_event round = {CR_EVENT_INFO, "client.trained", NULL, told, 4};
    struct cr_event_field fields[4];
    struct cr_event out;
    struct cr_config config = settings(true, 1);
    assert_true(cr_discretion_loss(&config, 1.23456) == 1.23);
    cr_discretion_event(&config, &step, fields, &out);
    assert_int_equal(out.field_count, 2);
    assert_true(cr_event_number(&out, "step") == 1 && cr_event_number(&out, "eta") == 4);
    cr_discretion_event(&config, &round, fields, &out);
    assert_int_equal(out.field_count, 4);
    config = settings(false, 1);
    assert_true(cr_discretion_loss(&config, 1.23456) == 1.23456);
    cr_discretion_event(&config, &step, fields, &out);
    assert_int_equal(out.field_count, 4);
}

// Of Python's hmac and hashlib, as docs/PROTOCOL.md says it.
static void test_seed(void **state)
{
    (void)state;
    unsigned char secret[CR_SEED_SECRET_SIZE];
    for (size_t i = 0; i < sizeof secret; i++) secret[i] = (unsigned char)i;
    uint64_t seed, other;
    assert_ok(cr_discretion_seed(secret, 7, &seed));
    assert_true(seed == 0x3cbd7e7b94bf5b03U);
    assert_ok(cr_discretion_seed(secret, 8, &other));
    assert_true(seed != other);
    secret[31] ^= 1;
    assert_ok(cr_discretion_seed(secret, 7, &other));
    assert_true(seed != other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rates),
        cmocka_unit_test(test_what_is_told),
        cmocka_unit_test(test_seed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
