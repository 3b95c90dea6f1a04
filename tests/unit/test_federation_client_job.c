// A silo before its first round: which jobs it takes part in.
#include "script_support.h"

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
    no_accelerators = true;
    refuses("slicing: {pads: enclave}", CR_INVALID, "give this silo's with --accelerator ADDRESS");
    no_accelerators = false;
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

static void wait_a_moment(void)
{
    for (double since = cr_clock_monotonic(); cr_clock_monotonic() - since < 1;)
        assert_ok(cr_loop_step(loop, 0.05));
}

// The connection is cut while the silo opens its model, which is done before the next connection has the job:
// the silo is ready once the server has shown that the job is still the same, and not before.
static void test_a_model_that_opens_between_hello_and_job(void **state)
{
    (void)state;
    end_silo();
    invite();
    atomic_store(&opens_late, true);
    start_silo();
    until_came(CR_FRAME_HELLO, 1);
    wait_a_moment();
    cr_connection_free(silo);
    silo = NULL;
    silent = true;
    until_came(CR_FRAME_HELLO, 2);
    atomic_store(&opens_late, false);
    wait_a_moment();
    assert_int_equal(came[CR_FRAME_READY], 0);
    silent = false;
    say_job();
    until_came(CR_FRAME_READY, 1);
    wait_a_moment();
    assert_int_equal(came[CR_FRAME_READY], 1);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_SILO(test_jobs_that_name_accelerators),
        WITH_SILO(test_other_jobs_than_the_agreed_one),
        WITH_SILO(test_jobs_that_are_not_for_this_silo),
        WITH_SILO(test_a_silo_of_the_roster),
        WITH_SILO(test_a_model_that_opens_between_hello_and_job),
        WITH_SILO(test_the_release_rule),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
