// A silo against a server that says what it likes. The server is a script on the test's own loop; the silo
// runs on a thread, with a learner of a few values and slow steps.
#include "sealing_support.h"

#include "attestation/manifest.h"
#include "base/clock.h"
#include "base/file.h"
#include "channel/connection.h"
#include "channel/token.h"
#include "federation/client.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

enum { VALUES = 8, STEPS = 6 };
static float learned[VALUES];

static enum cr_status few_open(const struct cr_config *config, const struct cr_event_sink *sink, void **out)
{
    (void)config;
    (void)sink;
    *out = learned;
    return CR_OK;
}

static void few_free(void *learner)
{
    (void)learner;
}

static float *few_values(void *learner, size_t *count)
{
    *count = VALUES;
    return learner;
}

static enum cr_status few_digest(void *learner, unsigned char out[32])
{
    (void)learner;
    memset(out, 7, 32);
    return CR_OK;
}

static size_t few_steps(void *learner)
{
    (void)learner;
    return STEPS;
}

static enum cr_status few_seek(void *learner, size_t step)
{
    (void)learner;
    (void)step;
    return CR_OK;
}

static void few_reset(void *learner)
{
    (void)learner;
}

static enum cr_status few_run(void *learner, size_t steps, struct cr_tally *tally,
                              bool (*keep_going)(void *context), void *context)
{
    for (size_t i = 0; i < steps; i++) {
        usleep(300000);
        ((float *)learner)[0] += 1;
        tally->steps++;
        tally->labelled += 10;
        if (!keep_going(context)) return cr_fail(CR_CANCELLED, "stopped");
    }
    return CR_OK;
}

static enum cr_status few_save(void *learner, const char *path)
{
    return cr_file_write(path, (struct cr_slice){learner, sizeof learned}, true);
}

static enum cr_status few_save_state(void *learner, const struct cr_sealing *sealing, const char *path)
{
    return cr_seal_write(path, sealing, (struct cr_slice){learner, sizeof learned});
}

static enum cr_status few_load_state(void *learner, const struct cr_sealing *sealing, const char *path)
{
    CR_CLEANUP(cr_buffer_release) struct cr_buffer bytes = {0};
    CR_TRY(cr_seal_load(path, sealing, sizeof learned, &bytes));
    memcpy(learner, bytes.data, bytes.size);
    return CR_OK;
}

static enum cr_status few_base(void *learner, struct cr_base_digest *out)
{
    (void)learner;
    *out = (struct cr_base_digest){.model = {5}, .tokenizer = {6}};
    return CR_OK;
}

static const struct cr_learner_kind few = {few_open,       few_free,  few_values, few_digest, few_steps,
                                           few_seek,       few_reset, few_run,    few_save,   few_save_state,
                                           few_load_state, few_base,  few_steps};

static char root[256], state_path[300];
static struct cr_buffer token, settings, form; // of the job: its settings, and it signed
static struct cr_manifest manifest;            // what is signed, but for its settings
static struct cr_loop *loop;
static struct cr_identity *authority, *identity, *owner;
static struct cr_tls *tls;
static struct cr_listener *listener;
static struct cr_connection *silo; // the member's connection
static size_t came[CR_FRAME_TYPES];
static uint64_t trained_round;
static unsigned char run_id[32];
static struct cr_message ready; // the last one that came
static pthread_t thread;
static atomic_bool ended, stopping;
static enum cr_status silo_status;
static char silo_why[1024];
static const char *own_accelerator, *output;

static void say(const struct cr_message *message)
{
    assert_ok(cr_connection_send(silo, message, NULL, NULL));
}

static enum cr_status on_enrol(struct cr_connection *connection, const struct cr_message *message)
{
    CR_CLEANUP(cr_buffer_release) struct cr_buffer certificate = {0};
    CR_CLEANUP(cr_buffer_release) struct cr_buffer ca = {0};
    CR_TRY(
        cr_identity_issue(authority, message->enrol.request, "anne", "silo", cr_clock_unix(), &certificate));
    CR_TRY(cr_identity_authority_der(authority, &ca));
    struct cr_message enrolled = {
        .type = CR_FRAME_ENROLLED,
        .enrolled = {.certificate = cr_buffer_slice(&certificate), .authority = cr_buffer_slice(&ca)}};
    const struct cr_message first = {.type = CR_FRAME_MANIFEST, .body = cr_buffer_slice(&form)};
    if (form.size > 0) CR_TRY(cr_connection_send(connection, &first, NULL, NULL));
    return cr_connection_send(connection, &enrolled, NULL, NULL);
}

static enum cr_status on_opened(void *context, struct cr_connection *connection)
{
    (void)context;
    if (!cr_connection_peer(connection)->anonymous) silo = connection;
    return CR_OK;
}

static enum cr_status on_received(void *context, struct cr_connection *connection,
                                  const struct cr_message *message)
{
    (void)context;
    static const float zeros[VALUES];
    came[message->type]++;
    if (message->type == CR_FRAME_ENROL) return on_enrol(connection, message);
    if (message->type == CR_FRAME_HELLO) {
        if (form.size > 0)
            say(&(struct cr_message){.type = CR_FRAME_MANIFEST, .body = cr_buffer_slice(&form)});
        struct cr_message answer = {.type = CR_FRAME_JOB};
        memcpy(answer.job.run, run_id, sizeof run_id);
        say(&answer);
    }
    if (message->type == CR_FRAME_READY) ready = *message;
    if (message->type == CR_FRAME_TRAINED) trained_round = message->trained.round;
    if (message->type == CR_FRAME_PULL)
        say(&(struct cr_message){.type = CR_FRAME_VALUES,
                                 .values = {.round = message->pull.round, .first = message->pull.first},
                                 .body = {(const unsigned char *)zeros, sizeof zeros}});
    return CR_OK;
}

static void on_closed(void *context, struct cr_connection *connection, enum cr_status status, const char *why)
{
    (void)context;
    (void)status;
    (void)why;
    if (connection == silo) silo = NULL;
    cr_connection_free(connection);
}

static const struct cr_connection_handler handler = {on_opened, on_received, on_closed};

static void *on_accepted(void *context, struct cr_connection *connection)
{
    (void)connection;
    return context;
}

static bool go_on(void *context)
{
    (void)context;
    return !atomic_load(&stopping);
}

static void *run_silo(void *context)
{
    (void)context;
    static const struct cr_event_sink nobody = {0};
    static const char *accelerators[] = {"unix:/of/this/silo"};
    const bool sliced = strstr(cr_buffer_text(&settings), "slicing");
    const struct cr_client_options options = {.token = cr_buffer_text(&token),
                                              .state = state_path,
                                              .key = &test_key,
                                              .model = "base",
                                              .data = "data",
                                              .accelerators = {.items = accelerators, .count = sliced},
                                              .own_accelerator = own_accelerator,
                                              .output = output};
    silo_status = cr_client_run(&options, &few, &nobody, go_on, NULL);
    snprintf(silo_why, sizeof silo_why, "%s", silo_status == CR_OK ? "" : cr_error_message());
    atomic_store(&ended, true);
    return NULL;
}

static void start_silo(void)
{
    memset(came, 0, sizeof came);
    atomic_store(&ended, false);
    atomic_store(&stopping, false);
    assert_int_equal(pthread_create(&thread, NULL, run_silo, NULL), 0);
}

static void until_came(enum cr_frame_type type, size_t wanted)
{
    double since = cr_clock_monotonic();
    while (came[type] < wanted) {
        assert_ok(cr_loop_step(loop, 0.05));
        if (atomic_load(&ended)) fail_msg("the silo ended: %s", silo_why);
        assert_true(cr_clock_monotonic() - since < PATIENCE);
    }
}

static void until_ended(enum cr_status status, const char *part)
{
    double since = cr_clock_monotonic();
    while (!atomic_load(&ended)) {
        assert_ok(cr_loop_step(loop, 0.05));
        assert_true(cr_clock_monotonic() - since < PATIENCE);
    }
    pthread_join(thread, NULL);
    if (silo_status != status || !strstr(silo_why, part))
        fail_msg("%s \"%s\" lacks \"%s\"", cr_status_name(silo_status), silo_why, part);
}

static void begin(uint64_t round, unsigned char flaw)
{
    static const float zeros[VALUES];
    struct cr_message message = {.type = CR_FRAME_BEGIN, .begin = {.round = round, .count = VALUES}};
    assert_ok(cr_sha256((struct cr_slice){(const unsigned char *)zeros, sizeof zeros}, message.begin.start));
    message.begin.start[0] ^= flaw;
    say(&message);
}

// What the server says from now on: the manifest with these settings, signed.
static void sign(struct cr_identity *signer)
{
    cr_buffer_clear(&form);
    manifest.settings = (char *)settings.data;
    assert_ok(cr_manifest_sign(&manifest, signer, &form));
}

// Gives the silo a token for that, and another place for what it keeps.
static void invite(void)
{
    static int number;
    struct cr_token text = {.name = "anne", .role = "silo", .expires = INT32_MAX};
    snprintf(state_path, sizeof state_path, "%s/anne-%d", root, number++);
    snprintf(text.address, sizeof text.address, "127.0.0.1:%u", cr_listener_port(listener));
    assert_ok(cr_identity_fingerprint(identity, text.fingerprint));
    memcpy(text.job, manifest.digest, CR_SHA256_SIZE);
    cr_buffer_clear(&token);
    assert_ok(cr_token_write(&text, &token));
}

static int set_up(void **state)
{
    (void)state;
    static int number;
    const char *base = getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp";
    snprintf(root, sizeof root, "%s/carrel-client-%ld-%d", base, (long)getpid(), number++);
    struct cr_config config;
    assert_ok(cr_config_parse(cr_slice_of_string("{model_name_or_path: base, output_dir: out, federation: "
                                                 "{rounds: 2, local_steps: 3, progress_timeout: 20}}"),
                              "test", &config));
    cr_buffer_clear(&settings);
    assert_ok(cr_config_job(&config, &settings));
    cr_config_release(&config);
    CR_CLEANUP(cr_buffer_release) struct cr_buffer request = {0};
    CR_CLEANUP(cr_buffer_release) struct cr_buffer certificate = {0};
    CR_CLEANUP(cr_buffer_release) struct cr_buffer ca = {0};
    assert_ok(cr_identity_new_authority("federation", cr_clock_unix(), &authority));
    assert_ok(cr_identity_new(&identity));
    assert_ok(cr_identity_request(identity, &request));
    assert_ok(cr_identity_issue(authority, cr_buffer_slice(&request), "server", "server", cr_clock_unix(),
                                &certificate));
    assert_ok(cr_identity_authority_der(authority, &ca));
    assert_ok(cr_identity_install(identity, cr_buffer_slice(&certificate), cr_buffer_slice(&ca)));
    assert_ok(cr_loop_new(&loop));
    assert_ok(cr_tls_new_server(identity, &tls));
    assert_ok(cr_listener_new(loop, tls, "127.0.0.1:0", 20, on_accepted, &handler, &loop, &listener));
    assert_ok(cr_identity_new(&owner));
    manifest = (struct cr_manifest){.model = {5}, .tokenizer = {6}};
    assert_ok(cr_identity_fingerprint(identity, manifest.authority));
    sign(owner);
    invite();
    start_silo();
    until_came(CR_FRAME_READY, 1);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    cr_connection_free(silo);
    silo = NULL;
    cr_listener_free(listener);
    cr_tls_free(tls);
    cr_loop_free(loop);
    cr_identity_free(identity);
    cr_identity_free(authority);
    cr_identity_free(owner);
    cr_buffer_release(&token);
    cr_buffer_release(&settings);
    cr_buffer_release(&form);
    char command[300];
    snprintf(command, sizeof command, "rm -rf '%s'", root);
    return system(command);
}

// As a server does whose silo reconnects while it still is in a long step of the round before.
static void test_told_twice_to_begin_another_round(void **state)
{
    (void)state;
    begin(0, 0);
    until_came(CR_FRAME_PROGRESS, 1);
    begin(1, 0);
    begin(1, 0);
    until_came(CR_FRAME_TRAINED, 1);
    assert_int_equal(trained_round, 1);
    say(&(struct cr_message){.type = CR_FRAME_FINISHED, .finished.rounds = 2});
    until_ended(CR_OK, "");
}

static void test_a_server_that_goes_back(void **state)
{
    (void)state;
    begin(0, 0);
    until_came(CR_FRAME_TRAINED, 1);
    begin(0, 0); // the same: answered from memory
    until_came(CR_FRAME_TRAINED, 2);
    begin(0, 1);
    until_ended(CR_PROTOCOL, "the server went back");
    // And so after a restart, from disk.
    start_silo();
    until_came(CR_FRAME_READY, 1);
    begin(0, 0);
    until_came(CR_FRAME_TRAINED, 1);
    begin(0, 1);
    until_ended(CR_PROTOCOL, "the server went back");
}

// What the server said is kept before it is acted on: a silo that was killed in the middle of a round knows
// it.
static void test_a_server_that_goes_back_behind_what_it_said(void **state)
{
    (void)state;
    assert_false(ready.ready.has_seen);
    begin(1, 0);
    until_came(CR_FRAME_PROGRESS, 1); // it trains
    cr_connection_free(silo);         // the server is gone, and the silo with it
    silo = NULL;
    atomic_store(&stopping, true);
    until_ended(CR_CANCELLED, "");
    start_silo();
    until_came(CR_FRAME_READY, 1);
    assert_true(ready.ready.has_seen);
    assert_int_equal(ready.ready.seen, 1);
    begin(0, 0);
    until_ended(CR_PROTOCOL,
                "went back to an older state: it tells of round 1, and round 2 had been told of");
    start_silo();
    until_came(CR_FRAME_READY, 1);
    begin(1, 5);
    until_ended(CR_PROTOCOL, "begins round 2 with other values");
    // Forgetting the run is no way around it.
    run_id[0] ^= 1;
    start_silo();
    until_ended(CR_PROTOCOL, "begins this job anew, and round 2 of it had been told of");
    assert_int_equal(came[CR_FRAME_READY], 0);
    run_id[0] ^= 1;
}

static void test_a_result_that_is_not_the_one(void **state)
{
    (void)state;
    struct cr_message finished = {.type = CR_FRAME_FINISHED, .finished.rounds = 2};
    say(&finished);
    until_ended(CR_OK, "");
    start_silo();
    until_came(CR_FRAME_READY, 1);
    assert_int_equal(ready.ready.seen, 2);
    finished.finished.digest[0] = 1;
    say(&finished);
    until_ended(CR_PROTOCOL, "begins round 3 with other values");
}

static void test_other_values_than_announced(void **state)
{
    (void)state;
    begin(0, 1);
    until_ended(CR_PROTOCOL, "not those that the server announced");
}

static void test_a_round_that_is_not_of_the_job(void **state)
{
    (void)state;
    begin(2, 0);
    until_ended(CR_PROTOCOL, "not of this job");
}

static void test_values_that_are_not_there(void **state)
{
    (void)state;
    say(&(struct cr_message){.type = CR_FRAME_PULL, .pull = {.count = VALUES}});
    until_ended(CR_PROTOCOL, "values of round 1 that are not there");
}

// Another run, whose job is `yaml`.
static void refuses(const char *yaml, enum cr_status status, const char *part)
{
    cr_buffer_clear(&settings);
    assert_ok(cr_append_format(&settings, "{model_name_or_path: base, output_dir: out, %s}", yaml));
    sign(owner);
    invite();
    start_silo();
    until_ended(status, part);
}

// Whatever a job says: a silo's texts are shown to nobody whom the silo does not name itself.
static void test_jobs_that_name_accelerators(void **state)
{
    (void)state;
    say(&(struct cr_message){.type = CR_FRAME_PULL, .pull = {.count = VALUES}});
    until_ended(CR_PROTOCOL, "not there");
    refuses("slicing: {pads: enclave, accelerators: ['unix:/of/the/server']}", CR_PROTOCOL,
            "the server's job names an accelerator, which is each silo's own");
    refuses("slicing: {pads: enclave, clear_front: local}", CR_INVALID,
            "name one that is the silo's own with --own-accelerator unix:PATH, or do not take part");
    refuses("slicing: {pads: enclave, clear_front: local, own_accelerator: 'unix:/of/the/server'}",
            CR_PROTOCOL, "the server's job names an accelerator as a silo's own, which only the silo can");
    own_accelerator = "unix:/of/this/silo";
    refuses("slicing: {pads: enclave, clear_front: local, own_accelerator: 'unix:/of/the/server'}",
            CR_PROTOCOL, "the server's job names an accelerator as a silo's own, which only the silo can");
    own_accelerator = NULL;
}

// A silo that has agreed to a job and meets another: refused by the name of what differs.
static void assert_refused(struct cr_identity *signer, const char *part)
{
    sign(signer);
    start_silo();
    until_ended(CR_DENIED, part);
}

static void end_silo(void)
{
    say(&(struct cr_message){.type = CR_FRAME_PULL, .pull = {.count = VALUES}});
    until_ended(CR_PROTOCOL, "not there");
}

static void set_setting(const char *old, const char *new)
{
    char *at = strstr((char *)settings.data, old);
    assert_non_null(at);
    assert_int_equal(strlen(old), strlen(new));
    memcpy(at, new, strlen(new));
}

static void test_other_jobs_than_the_agreed_one(void **state)
{
    (void)state;
    struct cr_identity *other;
    static char policy[] = "allow_debug: true\n";
    static struct cr_manifest_silo roster[] = {{.name = "anne"}, {.name = "zoe"}};
    assert_ok(cr_identity_new(&other));
    end_silo();
    const struct cr_manifest agreed = manifest;
    assert_refused(other, "another value of: the owner's key");
    manifest.policy = policy;
    assert_refused(owner, "another value of: the appraisal policy");
    manifest = agreed;
    manifest.roster = roster;
    manifest.roster_count = 2;
    assert_refused(owner, "another value of: the roster of silos");
    manifest = agreed;
    manifest.model[0] = 1;
    assert_refused(owner, "another value of: the model");
    manifest = agreed;
    manifest.tokenizer[0] = 1;
    assert_refused(owner, "another value of: the tokenizer");
    manifest = agreed;
    manifest.authority[0] ^= 1;
    assert_refused(owner, "another value of: the federation's CA");
    manifest = agreed;
    manifest.version[2] = 1;
    assert_refused(owner, "another value of: the least version of carrel");
    manifest = agreed;
    manifest.time_floor = 1;
    assert_refused(owner, "another value of: the earliest time");
    manifest = agreed;
    manifest.collateral_floor = 1;
    assert_refused(owner, "another value of: the earliest issue of collateral");
    manifest = agreed;
    set_setting("release: all", "release: any");
    assert_refused(owner, "another value of: federation.release");
    set_setting("release: any", "release: all");
    cr_buffer_clear(&form);
    start_silo();
    until_ended(CR_PROTOCOL, "began without a signed job");
    // And the agreed one is as good as before.
    sign(owner);
    start_silo();
    until_came(CR_FRAME_READY, 1);
    end_silo();
    // A token for another job does not change what was agreed to.
    char path[sizeof state_path];
    snprintf(path, sizeof path, "%s", state_path);
    manifest.time_floor = 1;
    sign(owner);
    invite();
    snprintf(state_path, sizeof state_path, "%s", path);
    start_silo();
    until_ended(CR_INVALID, "agreed to another job than the token's");
    cr_identity_free(other);
}

// What a silo refuses of a job that its token does name.
static void assert_unfit(enum cr_status status, const char *part)
{
    sign(owner);
    invite();
    start_silo();
    until_ended(status, part);
}

static void test_jobs_that_are_not_for_this_silo(void **state)
{
    (void)state;
    static struct cr_manifest_silo others[] = {{.name = "zoe"}}, other_key[] = {{.name = "anne", .key = {1}}};
    end_silo();
    const struct cr_manifest good = manifest;
    manifest.roster = others;
    manifest.roster_count = 1;
    assert_unfit(CR_DENIED, "anne is not in the job's roster");
    manifest.roster = other_key;
    assert_unfit(CR_DENIED, "anne has another key in the job's roster");
    manifest = good;
    manifest.authority[0] ^= 1;
    assert_unfit(CR_DENIED, "another federation's CA");
    manifest = good;
    manifest.version[0] = 99;
    assert_unfit(CR_DENIED, "carrel 99.0.0 or later");
    manifest = good;
    manifest.time_floor = INT64_C(1) << 33;
    assert_unfit(CR_DENIED, "before the job's earliest time");
    manifest = good;
    manifest.model[0] ^= 1;
    assert_unfit(CR_INVALID, "base is not the job's model");
    manifest = good;
    manifest.tokenizer[0] ^= 1;
    assert_unfit(CR_INVALID, "another tokenizer");
    manifest = good;
    sign(owner);
    invite();
    form.data[form.size - 1] ^= 1;
    start_silo();
    until_ended(CR_DENIED, "not signed by the owner");
    form.data[form.size - 1] ^= 1;
    form.data[0] ^= 1;
    start_silo();
    until_ended(CR_INVALID, "no COSE_Sign1 message");
    cr_buffer_clear(&form);
    start_silo();
    until_ended(CR_PROTOCOL, "enrols without a signed job");
    // A token of another job, and none agreed to yet: by digest.
    sign(owner);
    invite();
    manifest.time_floor = 1;
    sign(owner);
    start_silo();
    until_ended(CR_DENIED, "its digest is");
}

// With its key made before it was invited, so that the roster could have it.
static void test_a_silo_of_the_roster(void **state)
{
    (void)state;
    static struct cr_manifest_silo roster[] = {{.name = "anne"}};
    struct cr_identity *key;
    end_silo();
    manifest.roster = roster;
    manifest.roster_count = 1;
    invite();
    assert_ok(cr_identity_load_or_make(state_path, &key));
    assert_ok(cr_identity_key_digest(key, roster[0].key));
    cr_identity_free(key);
    char path[sizeof state_path];
    snprintf(path, sizeof path, "%s", state_path);
    sign(owner);
    invite();
    snprintf(state_path, sizeof state_path, "%s", path);
    start_silo();
    until_came(CR_FRAME_READY, 1);
    end_silo();
}

static void test_the_release_rule(void **state)
{
    (void)state;
    static char result[300];
    end_silo();
    snprintf(result, sizeof result, "%s/result", root);
    output = result;
    static const char *const rules[] = {"federation: {release: server}", "federation: {release: owner}",
                                        "federation: {release: sealed}"};
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++)
        refuses(rules[i], CR_INVALID, "--output: the job's federation.release gives silos no");
    output = NULL;
}

#define WITH_SILO(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_SILO(test_told_twice_to_begin_another_round),
        WITH_SILO(test_a_server_that_goes_back),
        WITH_SILO(test_a_server_that_goes_back_behind_what_it_said),
        WITH_SILO(test_a_result_that_is_not_the_one),
        WITH_SILO(test_other_values_than_announced),
        WITH_SILO(test_a_round_that_is_not_of_the_job),
        WITH_SILO(test_values_that_are_not_there),
        WITH_SILO(test_jobs_that_name_accelerators),
        WITH_SILO(test_other_jobs_than_the_agreed_one),
        WITH_SILO(test_jobs_that_are_not_for_this_silo),
        WITH_SILO(test_a_silo_of_the_roster),
        WITH_SILO(test_the_release_rule),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
