// tuning/: that a run goes on from its saved state as if it had never ended, and from no other.
#include "sealing_support.h"
#include "trainer_support.h"

#include "tuning/trainer_parts.h"

static const struct cr_sealing test_sealing = {&test_key, "a state", {1}};

static void a_saved_state_is_taken_up_bit_for_bit(void **state)
{
    struct fixture *fixture = *state;
    char path[64];
    place(fixture, "state", path);
    for (int turn = 0; turn < 4; turn++) {
        struct cr_tuning_config config = turn < 2 ? dropping_run(fixture) : prefix_run(fixture);
        int optimizer = config.training.optim = turn % 2;
        config.training.momentum = optimizer == CR_OPTIMIZER_SGD ? 0.9 : 0;
        struct cr_trainer *whole = new_trainer(&config, fixture->compute);
        struct cr_trainer *first = new_trainer(&config, fixture->compute);
        struct cr_trainer *second = new_trainer(&config, fixture->compute);
        struct cr_tally tally = {0};
        struct cr_trainer *const begun[] = {whole, first};
        for (size_t i = 0; i < 2; i++) { // the optimiser begins anew in between, as a silo's does in a round
            assert_ok(cr_trainer_run(begun[i], 2, &tally, NULL, NULL));
            cr_trainer_reset_optimizer(begun[i]);
        }
        assert_ok(cr_trainer_run(whole, 10, &tally, NULL, NULL));
        assert_ok(cr_trainer_run(first, 3, &tally, NULL, NULL));
        const struct cr_sealing *sealing = turn % 3 == 0 ? &test_sealing : NULL; // with either optimiser
        assert_ok(cr_trainer_save_state(first, sealing, path));
        assert_ok(cr_trainer_load_state(second, sealing, path));
        assert_int_equal(cr_trainer_step(second), 5);
        assert_ok(cr_trainer_run(second, 7, &tally, NULL, NULL));
        assert_same_values(whole, second);
        cr_trainer_free(whole);
        cr_trainer_free(first);
        cr_trainer_free(second);
    }
}

// Makes setting number i another one; false behind the last that a step follows from.
static bool change_setting(struct cr_tuning_config *config, size_t i)
{
    struct cr_training_config *training = &config->training;
    double *const numbers[] = {
        &training->learning_rate,    &training->weight_decay,  &training->adam_beta1,
        &training->adam_beta2,       &training->adam_epsilon,  &training->momentum,
        &training->max_grad_norm,    &config->lora.lora_alpha, &config->lora.lora_dropout,
        &training->num_train_epochs,
    };
    size_t *const counts[] = {&training->warmup_steps, &training->max_steps,
                              &training->per_device_train_batch_size, &training->gradient_accumulation_steps,
                              &training->lanes};
    enum { NUMBERS = sizeof numbers / sizeof *numbers, COUNTS = sizeof counts / sizeof *counts };
    if (i < NUMBERS)
        *numbers[i] = *numbers[i] / 2 + 0.25;
    else if (i < NUMBERS + COUNTS)
        *counts[i - NUMBERS] += 2;
    else if (i == NUMBERS + COUNTS)
        training->lr_scheduler_type = CR_SCHEDULE_COSINE;
    else if (i == NUMBERS + COUNTS + 1)
        config->seed++;
    else if (i == NUMBERS + COUNTS + 2)
        config->load_in_8bit = true;
    else
        return false;
    return true;
}

static void a_state_is_of_its_settings_alone(void **state)
{
    struct fixture *fixture = *state;
    char path[64];
    place(fixture, "state", path);
    const struct cr_tuning_config config = small_run(fixture->all, two_modules, 2);
    struct cr_trainer *trainer = new_trainer(&config, fixture->compute);
    assert_ok(cr_trainer_save_state(trainer, NULL, path));
    cr_trainer_free(trainer);
    struct cr_tuning_config changed = config;
    for (size_t i = 0; change_setting(&changed, i); i++, changed = config) {
        trainer = new_trainer(&changed, fixture->compute);
        enum cr_status status = cr_trainer_load_state(trainer, NULL, path);
        if (status != CR_INVALID) fail_msg("change %zu of the settings: the state is taken", i);
        cr_trainer_free(trainer);
    }
    if (cr_compute_has_bf16(fixture->compute)) {
        changed.dtype = CR_COMPUTE_BFLOAT16;
        trainer = new_trainer(&changed, fixture->compute);
        assert_fails(CR_INVALID, "another run", cr_trainer_load_state(trainer, NULL, path));
        cr_trainer_free(trainer);
    }
    // What no step follows from may change.
    changed = config;
    changed.training.logging_steps = changed.training.save_steps = 5;
    changed.data.eval = fixture->silo[1];
    trainer = new_trainer(&changed, fixture->compute);
    assert_ok(cr_trainer_load_state(trainer, NULL, path));
    cr_trainer_free(trainer);
}

static void a_foreign_or_damaged_state_is_refused(void **state)
{
    struct fixture *fixture = *state;
    char path[64];
    place(fixture, "state", path);
    struct cr_tuning_config config = small_run(fixture->all, two_modules, 2);
    struct cr_trainer *trainer = new_trainer(&config, fixture->compute);
    assert_ok(cr_trainer_save_state(trainer, NULL, path));
    config.training.learning_rate *= 2;
    struct cr_trainer *other = new_trainer(&config, fixture->compute);
    assert_fails(CR_INVALID, "another run", cr_trainer_load_state(other, NULL, path));
    config.training.learning_rate /= 2;
    config.data.train = fixture->silo[2];
    struct cr_trainer *elsewhere = new_trainer(&config, fixture->compute);
    assert_fails(CR_INVALID, "another run", cr_trainer_load_state(elsewhere, NULL, path));
    config.data.train = fixture->all;

    CR_CLEANUP(cr_buffer_release) struct cr_buffer bytes = {0};
    assert_ok(cr_file_read(path, 1 << 24, &bytes));
    bytes.data[8] ^= 2; // the version
    assert_ok(cr_file_write(path, cr_buffer_slice(&bytes), true));
    assert_fails(CR_UNSUPPORTED, "version 3", cr_trainer_load_state(trainer, NULL, path));
    bytes.data[8] ^= 2;
    bytes.data[12] = 3; // moments, of which there is room for two
    assert_ok(cr_file_write(path, cr_buffer_slice(&bytes), true));
    assert_fails(CR_INVALID, "3 vectors of moments", cr_trainer_load_state(trainer, NULL, path));
    bytes.data[12] = 2;
    bytes.data[bytes.size / 2] ^= 1;
    assert_ok(cr_file_write(path, cr_buffer_slice(&bytes), true));
    assert_fails(CR_INVALID, "damaged", cr_trainer_load_state(trainer, NULL, path));
    for (size_t size = 0; size < bytes.size; size += 41) {
        assert_ok(cr_file_write(path, (struct cr_slice){bytes.data, size}, true));
        assert_fails(CR_INVALID, path, cr_trainer_load_state(trainer, NULL, path));
    }
    assert_ok(cr_append_u8(&bytes, 0));
    assert_ok(cr_file_write(path, cr_buffer_slice(&bytes), true));
    assert_fails(CR_INVALID, "after its end", cr_trainer_load_state(trainer, NULL, path));
    assert_fails(CR_NOT_FOUND, "nowhere", cr_trainer_load_state(trainer, NULL, "/tmp/nowhere/state"));
    cr_trainer_free(trainer);
    cr_trainer_free(other);
    cr_trainer_free(elsewhere);
}

// Packing that joins nothing, but takes the longest first.
static void a_state_is_of_its_packs_alone(void **state)
{
    struct fixture *fixture = *state;
    char path[64];
    place(fixture, "state", path);
    struct cr_tuning_config config = small_run(fixture->silo[0], two_modules, 2);
    config.data.max_length = 40;
    struct cr_trainer *alone = new_trainer(&config, fixture->compute);
    config.data.packing = true;
    struct cr_trainer *packed = new_trainer(&config, fixture->compute);
    assert_int_equal(packed->packs.count, alone->packs.count);
    assert_ok(cr_trainer_save_state(alone, NULL, path));
    assert_fails(CR_INVALID, "another run", cr_trainer_load_state(packed, NULL, path));
    packed->step = 13; // of 12
    assert_ok(cr_trainer_save_state(packed, NULL, path));
    assert_fails(CR_INVALID, "13 steps done of 12", cr_trainer_load_state(packed, NULL, path));
    cr_trainer_free(alone);
    cr_trainer_free(packed);
}

static void a_sealed_state_of_another_run_or_damaged_is_refused(void **state)
{
    struct fixture *fixture = *state;
    char path[64];
    place(fixture, "state", path);
    struct cr_tuning_config config = small_run(fixture->all, two_modules, 2);
    struct cr_trainer *trainer = new_trainer(&config, fixture->compute);
    assert_ok(cr_trainer_save_state(trainer, &test_sealing, path));
    assert_fails(CR_INVALID, "not a saved state", cr_trainer_load_state(trainer, NULL, path));
    config.training.learning_rate *= 2;
    struct cr_trainer *other = new_trainer(&config, fixture->compute);
    assert_fails(CR_INVALID, "another run", cr_trainer_load_state(other, &test_sealing, path));
    CR_CLEANUP(cr_buffer_release) struct cr_buffer bytes = {0};
    assert_ok(cr_file_read(path, 1 << 24, &bytes));
    for (size_t size = 0; size < bytes.size; size += 411) {
        assert_ok(cr_file_write(path, (struct cr_slice){bytes.data, size}, true));
        assert_fails(CR_INVALID, path, cr_trainer_load_state(trainer, &test_sealing, path));
    }
    bytes.data[bytes.size - 1] ^= 1; // behind all values
    assert_ok(cr_file_write(path, cr_buffer_slice(&bytes), true));
    assert_fails(CR_INVALID, "was changed", cr_trainer_load_state(trainer, &test_sealing, path));
    // What is sealed as such a state, and is none.
    assert_ok(cr_seal_write(path, &test_sealing, cr_slice_of_string("carrelst")));
    assert_fails(CR_INVALID, path, cr_trainer_load_state(trainer, &test_sealing, path));
    cr_trainer_free(trainer);
    cr_trainer_free(other);
}

static void keep_loss(void *context, const struct cr_event *event)
{
    struct cr_tally *last = context;
    if (strcmp(event->name, "train.step") != 0) return;
    last->steps = (size_t)cr_event_number(event, "step");
    last->loss_sum = cr_event_number(event, "loss");
}

// Rounds of two steps, of which every third is reported.
static void a_report_is_of_all_steps_since_the_last(void **state)
{
    struct fixture *fixture = *state;
    struct cr_tuning_config config = small_run(fixture->all, two_modules, 2);
    config.training.logging_steps = 3;
    struct cr_tally last = {0}, sum = {0};
    const struct cr_event_sink sink = {.context = &last, .receive = keep_loss};
    struct cr_trainer *trainer;
    assert_ok(cr_trainer_new(&config, fixture->compute, &sink, &trainer));
    assert_ok(cr_trainer_run(trainer, 2, &sum, NULL, NULL));
    assert_int_equal(last.steps, 0);
    assert_ok(cr_trainer_seek(trainer, 2)); // as the next round does
    assert_ok(cr_trainer_run(trainer, 1, &sum, NULL, NULL));
    assert_int_equal(last.steps, 3);
    assert_true(last.loss_sum == sum.loss_sum / (double)sum.labelled);
    // What is done again, or left out, is in no report.
    assert_ok(cr_trainer_run(trainer, 2, &sum, NULL, NULL));
    assert_ok(cr_trainer_seek(trainer, 3));
    struct cr_tally again = {0};
    assert_ok(cr_trainer_run(trainer, 3, &again, NULL, NULL));
    assert_int_equal(last.steps, 6);
    assert_true(last.loss_sum == again.loss_sum / (double)again.labelled);
    cr_trainer_free(trainer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_saved_state_is_taken_up_bit_for_bit),
        cmocka_unit_test(a_state_is_of_its_settings_alone),
        cmocka_unit_test(a_state_is_of_its_packs_alone),
        cmocka_unit_test(a_foreign_or_damaged_state_is_refused),
        cmocka_unit_test(a_sealed_state_of_another_run_or_damaged_is_refused),
        cmocka_unit_test(a_report_is_of_all_steps_since_the_last),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
