// Server and silos in one process: the protocol, its faults and its restarts.
#include "run_support.h"

static void result(unsigned char digest[32])
{
    char path[300];
    CR_CLEANUP(cr_buffer_release) struct cr_buffer bytes = {0};
    snprintf(path, sizeof path, "%s/out/values", root);
    assert_ok(cr_file_read(path, 1 << 24, &bytes));
    assert_int_equal(bytes.size, VALUES * sizeof(float));
    assert_ok(cr_sha256(cr_buffer_slice(&bytes), digest));
}

static void assert_ended_well(struct program *program)
{
    wait_for(program);
    if (program->status != CR_OK) fail_msg("%s", program->why);
}

static const char *const names[] = {"anne", "ben", "cleo"};

static void start_three(const char *data)
{
    for (size_t i = 0; i < 3; i++) {
        char own[64];
        snprintf(own, sizeof own, "%s-%s", data, names[i]);
        invite(&silos[i], names[i], own);
        start(&silos[i]);
    }
}

static unsigned char undisturbed[32], undisturbed_slow[32];

static void test_three_silos_undisturbed(void **state)
{
    (void)state;
    static const char *const kinds[] = {"quick", "slow"};
    for (size_t k = 0; k < 2; k++) {
        set_up_run("  min_clients: 3\n");
        start_server();
        start_three(kinds[k]);
        for (size_t i = 0; i < 3; i++) assert_ended_well(&silos[i]);
        assert_ended_well(&server);
        result(k == 0 ? undisturbed : undisturbed_slow);
        // A server that is started again has nothing left to do.
        start(&server);
        assert_ended_well(&server);
        tear_down_run();
    }
}

// With what the optimiser gathered, or without.
static void test_one_silo_equals_training_alone(void **state)
{
    (void)state;
    for (int resets = 0; resets < 2; resets++) {
        set_up_run(resets ? "  min_clients: 1\n  optimizer_state: reset\n" : "  min_clients: 1\n");
        start_server();
        invite(&silos[0], "anne", "alone");
        start(&silos[0]);
        assert_ended_well(&silos[0]);
        assert_ended_well(&server);
        unsigned char together[32], alone[32];
        result(together);
        char data[] = "alone", model[] = "base";
        struct cr_config own = config;
        own.tuning.data.train = data;
        own.tuning.model_name_or_path = model;
        own.tuning.training.max_steps = 8;
        void *toy;
        struct cr_tally tally = {0};
        atomic_store(&server.stop, false);
        assert_ok(toy_open(&own, NULL, &toy));
        for (uint64_t round = 0; round < own.federation.rounds; round++) {
            size_t first, last;
            cr_learner_share(8, round, own.federation.rounds, &first, &last);
            if (resets) toy_reset(toy);
            assert_ok(toy_run(toy, last - first, &tally, go_on, &server));
        }
        assert_ok(cr_sha256(
            (struct cr_slice){(const unsigned char *)((struct toy *)toy)->values, VALUES * sizeof(float)},
            alone));
        toy_free(toy);
        assert_memory_equal(together, alone, 32);
        tear_down_run();
    }
}

static void check_undisturbed(const unsigned char wanted[32])
{
    for (size_t i = 0; i < 3; i++) assert_ended_well(&silos[i]);
    assert_ended_well(&server);
    unsigned char digest[32];
    result(digest);
    assert_memory_equal(digest, wanted, 32);
    tear_down_run();
}

static void test_server_stops_and_starts_again(void **state)
{
    (void)state;
    set_up_run("  min_clients: 3\n");
    server.stop_at_round = 2;
    start_server();
    start_three("slow");
    wait_for(&server);
    assert_int_equal(server.status, CR_CANCELLED);
    server.stop_at_round = 0;
    start(&server);
    check_undisturbed(undisturbed_slow);
}

static void test_silo_stops_and_starts_again(void **state)
{
    (void)state;
    for (int at = 1; at <= 2; at++) {
        set_up_run("  min_clients: 3\n");
        silos[1].stop_at_round = at;
        start_server();
        start_three("slow");
        wait_for(&silos[1]);
        assert_int_equal(silos[1].status, CR_CANCELLED);
        silos[1].stop_at_round = 0;
        start(&silos[1]); // with the token that it used already
        check_undisturbed(undisturbed_slow);
    }
}

static void test_poisoned_update_is_dropped(void **state)
{
    (void)state;
    set_up_run("  min_clients: 2\n");
    start_server();
    invite(&silos[0], "anne", "slow-anne");
    invite(&silos[1], "ben", "slow-poison");
    invite(&silos[2], "cleo", "slow-cleo");
    for (size_t i = 0; i < 3; i++) start(&silos[i]);
    wait_for(&silos[1]);
    assert_int_equal(silos[1].status, CR_DENIED);
    assert_non_null(strstr(silos[1].why, "value 599999 of 600000 is not finite"));
    assert_ended_well(&silos[0]);
    assert_ended_well(&silos[2]);
    assert_ended_well(&server);
    tear_down_run();
}

static void test_too_few_after_a_poisoned_update(void **state)
{
    (void)state;
    set_up_run("  min_clients: 2\n");
    start_server();
    invite(&silos[0], "anne", "slow-anne");
    invite(&silos[1], "ben", "slow-poison");
    start(&silos[0]);
    start(&silos[1]);
    wait_for(&server);
    assert_int_equal(server.status, CR_DENIED);
    assert_non_null(strstr(server.why, "after an update was refused"));
    wait_for(&silos[0]);
    assert_int_equal(silos[0].status, CR_DENIED);
    assert_non_null(strstr(silos[0].why, "cannot close"));
    wait_for(&silos[1]);
    tear_down_run();
}

static void test_other_settings_do_not_go_on(void **state)
{
    (void)state;
    set_up_run("  min_clients: 1\n");
    start_server();
    atomic_store(&server.stop, true);
    wait_for(&server);
    config.federation.rounds = 5;
    start(&server);
    wait_for(&server);
    assert_int_equal(server.status, CR_INVALID);
    assert_non_null(
        strstr(server.why, "unfinished run with other settings or another model: federation.rounds ("));
    tear_down_run();
}

static void start_and_stop(enum cr_status status)
{
    start(&server);
    atomic_store(&server.stop, true);
    wait_for(&server);
    if (server.status != status) fail_msg("%s", server.why);
}

// The CA was made when the clock was a day ahead, or the clock is a day behind.
static void test_a_server_of_another_time_says_so(void **state)
{
    (void)state;
    const struct cr_sealing sealing = {.key = &test_key, .purpose = "authority key"};
    CR_CLEANUP(cr_identity_release) struct cr_identity *authority = NULL;
    char path[300];
    set_up_run("");
    snprintf(path, sizeof path, "%s/server", root);
    assert_ok(cr_directory_make(path, true));
    snprintf(path, sizeof path, "%s/server/authority", root);
    assert_ok(cr_identity_new_authority("carrel federation", cr_clock_unix() + 86400, &authority));
    assert_ok(cr_identity_save(authority, path, &sealing));
    start_and_stop(CR_CANCELLED);
    assert_non_null(strstr(server.warned, "server/authority: the federation's CA: it is good from 2"));
    tear_down_run();
}

// The job as a program before this one would have signed it, and no run yet.
static void sign_as_earlier_program(void)
{
    char path[300], owner_path[300];
    CR_CLEANUP(cr_identity_release) struct cr_identity *owner = NULL;
    CR_CLEANUP(cr_manifest_release) struct cr_manifest manifest = {0};
    CR_CLEANUP(cr_buffer_release) struct cr_buffer form = {0};
    snprintf(path, sizeof path, "%s/server/job.cbor", root);
    snprintf(owner_path, sizeof owner_path, "%s/server/owner", root);
    assert_ok(cr_manifest_read(path, &manifest, NULL));
    assert_ok(cr_identity_load_or_make(owner_path, &owner));
    memcpy(manifest.version, (uint64_t[]){0, 0, 1}, sizeof manifest.version);
    assert_ok(cr_manifest_sign(&manifest, owner, &form));
    assert_ok(cr_file_write(path, cr_buffer_slice(&form), true));
    snprintf(path, sizeof path, "%s/server/state.sealed", root);
    assert_int_equal(unlink(path), 0);
}

// Its job has another digest than this program would give it: that is known still, though a start with other
// settings has been in between.
static void test_a_run_of_an_earlier_program_goes_on(void **state)
{
    (void)state;
    set_up_run("");
    start_and_stop(CR_CANCELLED);
    sign_as_earlier_program();
    start_and_stop(CR_CANCELLED);
    config.federation.rounds = 5;
    start_and_stop(CR_INVALID);
    assert_non_null(strstr(server.why, "another model: federation.rounds ("));
    config.federation.rounds = 4;
    start_and_stop(CR_CANCELLED);
    tear_down_run();
}

// Of a job that somebody signed it tells what is other, were it the version alone.
static void test_a_job_signed_by_an_earlier_program_is_another(void **state)
{
    (void)state;
    char path[300];
    CR_CLEANUP(cr_buffer_release) struct cr_buffer form = {0};
    set_up_run("");
    start_and_stop(CR_CANCELLED);
    snprintf(path, sizeof path, "%s/server/job.cbor", root);
    assert_ok(cr_file_read(path, CR_MANIFEST_LIMIT, &form));
    sign_as_earlier_program();
    snprintf(path, sizeof path, "%s/signed.cbor", root);
    assert_ok(cr_file_write(path, cr_buffer_slice(&form), true));
    assert_ok(cr_copy_string(path, &config.federation.job));
    start_and_stop(CR_CANCELLED);
    free(config.federation.job);
    snprintf(path, sizeof path, "%s/server/job.cbor", root);
    assert_ok(cr_copy_string(path, &config.federation.job));
    start_and_stop(CR_INVALID);
    assert_non_null(strstr(server.why, "another model: the least version of carrel (finish"));
    // Where the kept job is not the run's nothing is named.
    CR_CLEANUP(cr_buffer_release) struct cr_buffer other = {0};
    assert_ok(cr_file_read(path, CR_MANIFEST_LIMIT, &other));
    snprintf(path, sizeof path, "%s/server/run.cbor", root);
    assert_ok(cr_file_write(path, cr_buffer_slice(&other), true));
    start_and_stop(CR_INVALID);
    assert_non_null(strstr(server.why, "another model (finish"));
    tear_down_run();
}

// Who gets the result: the server, the silo that asks, or both.
static void test_release(void **state)
{
    (void)state;
    static const struct {
        const char *rule;
        bool server, silo;
    } rules[] = {
        {"all", true, true}, {"server", true, false}, {"silos", false, true}, {"sealed", false, false}};
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++) {
        char settings[64], at_server[300], at_silo[300], output[280];
        snprintf(settings, sizeof settings, "  release: %s\n", rules[i].rule);
        set_up_run(settings);
        start_server();
        invite(&silos[0], "anne", "anne");
        snprintf(output, sizeof output, "%s/result", root);
        snprintf(at_silo, sizeof at_silo, "%s/values", output);
        snprintf(at_server, sizeof at_server, "%s/out/values", root);
        silos[0].options.output = output;
        if (!rules[i].silo) {
            refused(&silos[0], CR_INVALID, "--output: the job's federation.release gives silos no result");
            silos[0].options.output = NULL;
        }
        start(&silos[0]);
        assert_ended_well(&silos[0]);
        assert_ended_well(&server);
        assert_int_equal(cr_file_exists(at_server), rules[i].server);
        assert_int_equal(cr_file_exists(at_silo), rules[i].silo);
        // What was released to nobody is in the state alone: no other run takes its place.
        config.federation.rounds++;
        start(&server);
        atomic_store(&server.stop, true);
        wait_for(&server);
        bool refused_so = strstr(server.why, "holds a result that is nowhere else");
        assert_int_equal(refused_so, !rules[i].server && !rules[i].silo);
        tear_down_run();
    }
}

static void test_shares_cover_all_steps(void **state)
{
    (void)state;
    static const size_t totals[] = {1, 7, 10, 1000003};
    for (size_t t = 0; t < 4; t++)
        for (uint64_t rounds = 1; rounds <= 7; rounds++) {
            size_t expected = 0;
            for (uint64_t r = 0; r < rounds; r++) {
                size_t first, last;
                cr_learner_share(totals[t], r, rounds, &first, &last);
                assert_int_equal(first, expected);
                assert_true(last - first <= totals[t] / rounds + 1);
                expected = last;
            }
            assert_int_equal(expected, totals[t]);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_three_silos_undisturbed),
        cmocka_unit_test(test_one_silo_equals_training_alone),
        cmocka_unit_test(test_server_stops_and_starts_again),
        cmocka_unit_test(test_silo_stops_and_starts_again),
        cmocka_unit_test(test_poisoned_update_is_dropped),
        cmocka_unit_test(test_too_few_after_a_poisoned_update),
        cmocka_unit_test(test_other_settings_do_not_go_on),
        cmocka_unit_test(test_a_server_of_another_time_says_so),
        cmocka_unit_test(test_a_run_of_an_earlier_program_goes_on),
        cmocka_unit_test(test_a_job_signed_by_an_earlier_program_is_another),
        cmocka_unit_test(test_release),
        cmocka_unit_test(test_shares_cover_all_steps),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
