// Server and silos in one process, each on its thread, with a learner that needs no model: the protocol, its
// faults and its restarts.
#include "sealing_support.h"

#include "base/clock.h"
#include "base/file.h"
#include "federation/client.h"
#include "federation/invitation.h"
#include "federation/server.h"

#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/stat.h>

enum { VALUES = 600000 }; // three chunks

// A learner whose step mixes values, the data's name and a momentum that outlives rounds.
struct toy {
    float *values, *momentum; // [VALUES]
    size_t step, total;
    float flavour;
    bool poisoned; // ends its steps with a value that is not finite
    bool other;    // claims another structure
    double pause;  // seconds per step
    size_t labelled;
};

static enum cr_status toy_open(const struct cr_config *config, const struct cr_event_sink *sink, void **out)
{
    (void)sink;
    struct toy *toy;
    CR_TRY(cr_allocate(1, sizeof *toy, &toy));
    CR_TRY(cr_allocate(VALUES, sizeof(float), &toy->values));
    CR_TRY(cr_allocate(VALUES, sizeof(float), &toy->momentum));
    for (size_t i = 0; i < VALUES; i++) toy->values[i] = sinf((float)i);
    toy->total = config->tuning.training.max_steps;
    const char *data = config->tuning.data.train ? config->tuning.data.train : "";
    for (const char *c = data; *c; c++) toy->flavour = toy->flavour * 1.1F + (float)*c / 128;
    toy->poisoned = strstr(data, "poison") != NULL;
    toy->other = strstr(config->tuning.model_name_or_path, "other") != NULL;
    toy->pause = strstr(data, "slow") ? 0.05 : 0;
    toy->labelled = 10 + strlen(data);
    *out = toy;
    return CR_OK;
}

static void toy_free(void *learner)
{
    struct toy *toy = learner;
    if (!toy) return;
    free(toy->values);
    free(toy->momentum);
    free(toy);
}

static float *toy_values(void *learner, size_t *count)
{
    *count = VALUES;
    return ((struct toy *)learner)->values;
}

static enum cr_status toy_digest(void *learner, unsigned char out[32])
{
    memset(out, ((struct toy *)learner)->other ? 8 : 7, 32);
    return CR_OK;
}

static size_t toy_total(void *learner)
{
    return ((struct toy *)learner)->total;
}

static enum cr_status toy_seek(void *learner, size_t step)
{
    ((struct toy *)learner)->step = step;
    return CR_OK;
}

static void toy_reset(void *learner)
{
    memset(((struct toy *)learner)->momentum, 0, VALUES * sizeof(float));
}

static enum cr_status toy_run(void *learner, size_t steps, struct cr_tally *tally,
                              bool (*keep_going)(void *context), void *context)
{
    struct toy *toy = learner;
    for (size_t s = 0; s < steps; s++) {
        for (size_t i = 0; i < VALUES; i++) {
            toy->momentum[i] = 0.5F * toy->momentum[i] + 0.01F * (toy->flavour - toy->values[i]);
            toy->values[i] += toy->momentum[i] + 1e-3F * (float)toy->step;
        }
        if (toy->poisoned) toy->values[VALUES - 1] = NAN;
        if (toy->pause > 0) usleep((useconds_t)(toy->pause * 1e6));
        toy->step++;
        tally->steps++;
        tally->labelled += toy->labelled;
        tally->tokens += 2 * toy->labelled;
        tally->loss_sum += (double)toy->labelled;
        if (!keep_going(context)) return cr_fail(CR_CANCELLED, "stopped");
    }
    return CR_OK;
}

static enum cr_status write_floats(const char *path, const struct cr_sealing *sealing, const struct toy *toy)
{
    struct cr_buffer bytes = {0};
    uint64_t step = toy->step;
    enum cr_status status = cr_append(&bytes, &step, sizeof step);
    if (status == CR_OK) status = cr_append(&bytes, toy->values, VALUES * sizeof(float));
    if (status == CR_OK) status = cr_append(&bytes, toy->momentum, VALUES * sizeof(float));
    if (status == CR_OK) status = cr_seal_write(path, sealing, cr_buffer_slice(&bytes));
    cr_buffer_release(&bytes);
    return status;
}

static enum cr_status toy_save(void *learner, const char *directory)
{
    CR_FREE char *path = NULL;
    CR_TRY(cr_directory_make(directory, false));
    CR_TRY(cr_path_join(directory, "values", &path));
    struct toy *toy = learner;
    return cr_file_write(path, (struct cr_slice){(const unsigned char *)toy->values, VALUES * sizeof(float)},
                         false);
}

static enum cr_status toy_save_state(void *learner, const struct cr_sealing *sealing, const char *path)
{
    return write_floats(path, sealing, learner);
}

static enum cr_status toy_load_state(void *learner, const struct cr_sealing *sealing, const char *path)
{
    struct toy *toy = learner;
    CR_CLEANUP(cr_buffer_release) struct cr_buffer bytes = {0};
    CR_TRY(cr_seal_load(path, sealing, 1 << 24, &bytes));
    uint64_t step;
    memcpy(&step, bytes.data, sizeof step);
    toy->step = (size_t)step;
    memcpy(toy->values, bytes.data + 8, VALUES * sizeof(float));
    memcpy(toy->momentum, bytes.data + 8 + VALUES * sizeof(float), VALUES * sizeof(float));
    return CR_OK;
}

static enum cr_status toy_base(void *learner, struct cr_base_digest *out)
{
    (void)learner;
    *out = (struct cr_base_digest){.model = {5}, .tokenizer = {6}};
    return CR_OK;
}

static size_t toy_step(void *learner)
{
    return ((struct toy *)learner)->step;
}

static const struct cr_learner_kind toy_kind = {
    toy_open, toy_free, toy_values,     toy_digest,     toy_total, toy_seek, toy_reset,
    toy_run,  toy_save, toy_save_state, toy_load_state, toy_base,  toy_step,
};

// One run of a program on a thread. It is stopped at once by `stop`, as by a signal.
struct program {
    pthread_t thread;
    atomic_bool stop, ended;
    enum cr_status status;
    char why[1024];
    const struct cr_config *config; // a server's
    struct cr_client_options options;
    char token[1024], state[512], data[64], model[64];
    atomic_int rounds_done; // seen in events
    atomic_int stop_at_round;
};

static bool go_on(void *context)
{
    struct program *program = context;
    return !atomic_load(&program->stop);
}

static void see(void *context, const struct cr_event *event)
{
    struct program *program = context;
    if (strcmp(event->name, "round.done") != 0 && strcmp(event->name, "client.trained") != 0) return;
    int done = atomic_fetch_add(&program->rounds_done, 1) + 1;
    if (done == atomic_load(&program->stop_at_round)) atomic_store(&program->stop, true);
}

static void *run_program(void *context)
{
    struct program *program = context;
    struct cr_event_sink sink = {see, program};
    program->status = program->config
                          ? cr_server_run(program->config, &test_key, &toy_kind, &sink, go_on, program)
                          : cr_client_run(&program->options, &toy_kind, &sink, go_on, program);
    if (program->status != CR_OK) snprintf(program->why, sizeof program->why, "%s", cr_error_message());
    atomic_store(&program->ended, true);
    return NULL;
}

static void start(struct program *program)
{
    atomic_store(&program->stop, false);
    atomic_store(&program->ended, false);
    atomic_store(&program->rounds_done, 0);
    assert_int_equal(pthread_create(&program->thread, NULL, run_program, program), 0);
}

static void wait_for(struct program *program)
{
    double since = cr_clock_monotonic();
    while (!atomic_load(&program->ended)) {
        usleep(10000);
        assert_true(cr_clock_monotonic() - since < PATIENCE);
    }
    pthread_join(program->thread, NULL);
}

static char root[256];
static struct cr_config config;
static struct program server, silos[3];

static void set_up_run(const char *extra)
{
    static int number;
    const char *base = getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp";
    snprintf(root, sizeof root, "%s/carrel-test-%ld-%d", base, (long)getpid(), number++);
    CR_CLEANUP(cr_buffer_release) struct cr_buffer yaml = {0};
    assert_ok(
        cr_append_format(&yaml,
                         "model_name_or_path: base\noutput_dir: %s/out\nfederation:\n"
                         "  address: 127.0.0.1:0\n  state_dir: %s/server\n  rounds: 4\n  local_steps: 2\n"
                         "  progress_timeout: 20\n%s",
                         root, root, extra));
    assert_ok(cr_config_parse(cr_buffer_slice(&yaml), "test", &config));
    memset(&server, 0, sizeof server);
    memset(silos, 0, sizeof silos);
    server.config = &config;
}

static void tear_down_run(void)
{
    char command[300];
    cr_config_release(&config);
    snprintf(command, sizeof command, "rm -rf '%s'", root);
    assert_int_equal(system(command), 0);
}

static void start_server(void)
{
    char port[300];
    snprintf(port, sizeof port, "%s/server/port", root);
    start(&server);
    double since = cr_clock_monotonic();
    while (!cr_file_exists(port) && !atomic_load(&server.ended)) {
        usleep(10000);
        assert_true(cr_clock_monotonic() - since < PATIENCE);
    }
}

static void invite(struct program *silo, const char *name, const char *data)
{
    CR_CLEANUP(cr_buffer_release) struct cr_buffer token = {0};
    assert_ok(cr_invite(&config, name, "silo", 60, &token));
    snprintf(silo->token, sizeof silo->token, "%s", cr_buffer_text(&token));
    snprintf(silo->state, sizeof silo->state, "%s/%s", root, name);
    snprintf(silo->data, sizeof silo->data, "%s", data);
    silo->options = (struct cr_client_options){
        .token = silo->token, .state = silo->state, .key = &test_key, .model = "base", .data = silo->data};
}

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

static void test_one_silo_equals_training_alone(void **state)
{
    (void)state;
    set_up_run("  min_clients: 1\n");
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
    assert_ok(toy_run(toy, 8, &tally, go_on, &server));
    assert_ok(cr_sha256(
        (struct cr_slice){(const unsigned char *)((struct toy *)toy)->values, VALUES * sizeof(float)},
        alone));
    toy_free(toy);
    assert_memory_equal(together, alone, 32);
    tear_down_run();
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

// One silo that is refused, by itself; the server is then stopped.
static void refused(struct program *silo, enum cr_status status, const char *part)
{
    start(silo);
    wait_for(silo);
    if (silo->status != status || !strstr(silo->why, part))
        fail_msg("%s \"%s\" lacks \"%s\"", cr_status_name(silo->status), silo->why, part);
}

static void stop_server(void)
{
    atomic_store(&server.stop, true);
    wait_for(&server);
    tear_down_run();
}

static void test_another_model_is_refused(void **state)
{
    (void)state;
    set_up_run("  min_clients: 2\n");
    start_server();
    invite(&silos[0], "anne", "anne");
    silos[0].options.model = "other";
    refused(&silos[0], CR_DENIED, "another base model, tokenizer or tuned structure");
    stop_server();
}

static void test_tokens(void **state)
{
    (void)state;
    set_up_run("  min_clients: 2\n");
    start_server();
    // Used: another directory is another silo.
    invite(&silos[0], "anne", "anne");
    start(&silos[0]);
    char certificate[600];
    snprintf(certificate, sizeof certificate, "%s/certificate.pem", silos[0].state);
    while (!cr_file_exists(certificate)) usleep(10000);
    silos[1] = silos[0];
    snprintf(silos[1].state, sizeof silos[1].state, "%s/thief", root);
    silos[1].options.state = silos[1].state;
    silos[1].options.token = silos[1].token;
    refused(&silos[1], CR_DENIED, "used already");
    atomic_store(&silos[0].stop, true);
    wait_for(&silos[0]);
    // Expired.
    CR_CLEANUP(cr_buffer_release) struct cr_buffer token = {0};
    assert_ok(cr_invite(&config, "ben", "silo", 1, &token));
    invite(&silos[1], "ben", "ben");
    snprintf(silos[1].token, sizeof silos[1].token, "%s", cr_buffer_text(&token));
    usleep(2100000);
    refused(&silos[1], CR_DENIED, "expired at");
    // Never issued.
    struct cr_token forged;
    assert_ok(cr_token_parse(silos[1].token, &forged));
    forged.secret[0] ^= 1;
    cr_buffer_clear(&token);
    assert_ok(cr_token_write(&forged, &token));
    snprintf(silos[1].token, sizeof silos[1].token, "%s", cr_buffer_text(&token));
    refused(&silos[1], CR_DENIED, "not one of this server's");
    // Of another federation's CA.
    forged.fingerprint[0] ^= 1;
    cr_buffer_clear(&token);
    assert_ok(cr_token_write(&forged, &token));
    snprintf(silos[1].token, sizeof silos[1].token, "%s", cr_buffer_text(&token));
    refused(&silos[1], CR_DENIED, "its CA is another one");
    stop_server();
}

static void test_invited_anew(void **state)
{
    (void)state;
    set_up_run("  min_clients: 2\n");
    start_server();
    invite(&silos[0], "anne", "anne");
    start(&silos[0]);
    char certificate[600];
    snprintf(certificate, sizeof certificate, "%s/certificate.pem", silos[0].state);
    while (!cr_file_exists(certificate)) usleep(10000);
    atomic_store(&silos[0].stop, true);
    wait_for(&silos[0]);
    invite(&silos[1], "anne", "anne");
    snprintf(silos[1].state, sizeof silos[1].state, "%s/anew", root);
    start(&silos[1]);
    snprintf(certificate, sizeof certificate, "%s/certificate.pem", silos[1].state);
    while (!cr_file_exists(certificate)) usleep(10000);
    refused(&silos[0], CR_DENIED, "enrolled anew");
    atomic_store(&silos[1].stop, true);
    wait_for(&silos[1]);
    stop_server();
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
    assert_non_null(strstr(server.why, "unfinished run with other settings"));
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
        tear_down_run();
    }
}

static void test_tokens_need_an_address(void **state)
{
    (void)state;
    set_up_run("  advertise: 0.0.0.0:1\n");
    CR_CLEANUP(cr_buffer_release) struct cr_buffer token = {0};
    assert_fails(CR_INVALID, "set federation.advertise", cr_invite(&config, "ben", "silo", 60, &token));
    tear_down_run();
    set_up_run("");
    assert_fails(CR_INVALID, "no server has run yet", cr_invite(&config, "ben", "silo", 60, &token));
    assert_fails(CR_INVALID, "is no name", cr_invite(&config, "Ben", "silo", 60, &token));
    assert_fails(CR_INVALID, "only one", cr_invite(&config, "ben", "owner", 60, &token));
    tear_down_run();
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

static void test_durations(void **state)
{
    (void)state;
    double seconds;
    assert_ok(cr_duration_parse("24h", &seconds));
    assert_true(seconds == 86400);
    assert_ok(cr_duration_parse("7d", &seconds));
    assert_true(seconds == 7 * 86400);
    static const char *const wrong[] = {"", "h", "24", "1.5h", "-1h", "1w"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_fails(CR_INVALID, "no duration", cr_duration_parse(wrong[i], &seconds));
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
        cmocka_unit_test(test_another_model_is_refused),
        cmocka_unit_test(test_tokens),
        cmocka_unit_test(test_invited_anew),
        cmocka_unit_test(test_other_settings_do_not_go_on),
        cmocka_unit_test(test_release),
        cmocka_unit_test(test_tokens_need_an_address),
        cmocka_unit_test(test_shares_cover_all_steps),
        cmocka_unit_test(test_durations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
