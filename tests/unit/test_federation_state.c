// What a server and a silo keep on disk: it comes back, and what is damaged is told.
#include "folder_support.h"
#include "sealing_support.h"

#include "base/clock.h"
#include "base/file.h"
#include "federation/client_state.h"
#include "federation/state.h"

#include <stdio.h>

static char root[256];
static const unsigned char job[32] = {3};

static char *path_in(const char *name)
{
    static char path[600];
    snprintf(path, sizeof path, "%s/%s", root, name);
    return path;
}

static int set_up(void **state)
{
    (void)state;
    static int number;
    const char *base = getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp";
    snprintf(root, sizeof root, "%s/carrel-state-%ld-%d", base, (long)getpid(), number++);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    remove_folder(root);
    return 0;
}

static struct cr_vector *numbers(float first)
{
    struct cr_vector *vector;
    assert_ok(cr_vector_new(1000, &vector));
    for (size_t i = 0; i < vector->count; i++) vector->values[i] = first + (float)i;
    return vector;
}

// One that a machine made whose clock was ahead: silos refuse it as not good yet, for as long as that was.
static void test_what_was_made_in_the_future(void **unused)
{
    (void)unused;
    const struct cr_sealing sealing = {.key = &test_key, .purpose = "server key"};
    const struct cr_sealing of_authority = {.key = &test_key, .purpose = "authority key"};
    const int64_t tomorrow = cr_clock_unix() + 86400;
    struct cr_state_dir *state;
    struct cr_identity *authority;
    CR_CLEANUP(cr_identity_release) struct cr_identity *server = NULL;
    CR_CLEANUP(cr_buffer_release) struct cr_buffer request = {0}, early = {0}, authority_der = {0};
    assert_ok(cr_state_open(root, &test_key, &state));
    assert_ok(cr_identity_request(state->server, &request));
    assert_ok(
        cr_identity_issue(state->authority, cr_buffer_slice(&request), "server", "server", tomorrow, &early));
    assert_ok(cr_identity_authority_der(state->authority, &authority_der));
    assert_ok(cr_identity_install(state->server, cr_buffer_slice(&early), cr_buffer_slice(&authority_der)));
    assert_ok(cr_identity_save(state->server, path_in("server"), &sealing));
    assert_fails(CR_DENIED, "and this machine's clock says",
                 cr_certificate_check_time(cr_identity_certificate(state->server), cr_clock_unix()));
    cr_state_close(state);
    assert_ok(cr_state_open(root, &test_key, &state));
    assert_ok(cr_certificate_check_time(cr_identity_certificate(state->server), cr_clock_unix()));
    assert_fails(CR_DENIED, "it is good from",
                 cr_certificate_check_time(cr_identity_certificate(state->server), tomorrow + 731 * 86400));
    cr_state_close(state);

    // A clock that is behind the CA, and behind what it has certified, changes nothing.
    CR_CLEANUP(cr_buffer_release) struct cr_buffer before = {0}, after = {0};
    assert_ok(cr_identity_new_authority("carrel federation", tomorrow, &authority));
    assert_ok(cr_identity_save(authority, path_in("authority"), &of_authority));
    assert_ok(cr_identity_load(path_in("server"), &sealing, &server));
    cr_buffer_clear(&early);
    cr_buffer_clear(&authority_der);
    assert_ok(cr_identity_issue(authority, cr_buffer_slice(&request), "server", "server", tomorrow, &early));
    assert_ok(cr_identity_authority_der(authority, &authority_der));
    assert_ok(cr_identity_install(server, cr_buffer_slice(&early), cr_buffer_slice(&authority_der)));
    assert_ok(cr_identity_save(server, path_in("server"), &sealing));
    cr_identity_free(authority);
    assert_ok(cr_file_read(path_in("server/certificate.pem"), 1 << 16, &before));
    assert_ok(cr_state_open(root, &test_key, &state));
    cr_state_close(state);
    assert_ok(cr_file_read(path_in("server/certificate.pem"), 1 << 16, &after));
    assert_true(cr_slice_equal(cr_buffer_slice(&before), cr_buffer_slice(&after)));
}

static void test_a_server_finds_its_state(void **unused)
{
    (void)unused;
    struct cr_state_dir *state;
    struct cr_vector *first = numbers(0.5F), *second = numbers(7), *found;
    unsigned char run[32], fingerprint[32], again[32], digest[32];
    assert_ok(cr_state_open(root, &test_key, &state));
    assert_false(state->begun);
    assert_ok(cr_identity_fingerprint(state->server, fingerprint));
    assert_ok(cr_state_begin(state, job, first));
    memcpy(run, state->run, 32);
    assert_ok(cr_state_enrol(state, &(struct cr_member){"anne", "silo", {9}, false}));
    assert_ok(cr_state_enrol(state, &(struct cr_member){"ben", "silo", {8}, false}));
    state->members[0].came = true;
    assert_ok(cr_state_enrol(state, &(struct cr_member){"anne", "silo", {7}, false})); // anew
    assert_ok(cr_state_store(state, 1, second, digest));
    assert_true(cr_file_exists(path_in("values-0.sealed"))); // it is the state's still
    assert_ok(cr_state_advance(state, 1, false, digest));
    assert_false(cr_file_exists(path_in("values-0.sealed")));
    cr_state_close(state);

    // A CA's certificate that is lost is no reason for another CA, whose key would take the place of this
    // one's.
    CR_FREE char *lost = NULL;
    assert_ok(cr_path_join(root, "authority/certificate.pem", &lost));
    assert_int_equal(rename(lost, path_in("put-aside")), 0);
    assert_fails(CR_NOT_FOUND, "authority/certificate.pem: not there, beside its key",
                 cr_state_open(root, &test_key, &state));
    assert_int_equal(rename(path_in("put-aside"), lost), 0);

    assert_ok(cr_state_open(root, &test_key, &state));
    assert_true(state->begun && !state->finished);
    assert_int_equal(state->round, 1);
    assert_memory_equal(state->run, run, 32);
    assert_memory_equal(state->job, job, 32);
    assert_int_equal(state->member_count, 2);
    assert_int_equal(state->members[cr_state_find(state, "anne")].key[0], 7);
    assert_true(state->members[0].came && !state->members[1].came);
    assert_true(cr_state_find(state, "cleo") == SIZE_MAX);
    assert_ok(cr_identity_fingerprint(state->server, again));
    assert_memory_equal(fingerprint, again, 32);
    assert_ok(cr_state_values(state, &found));
    assert_memory_equal(found->values, second->values, 4000);
    struct cr_seen seen;
    assert_ok(cr_state_seen(state, &seen));
    assert_int_equal(seen.round, 1);
    assert_memory_equal(seen.run, run, 32);
    assert_memory_equal(seen.start, digest, 32);
    cr_vector_release(found);
    assert_ok(cr_state_store(state, 2, first, digest));
    assert_ok(cr_state_advance(state, 2, true, digest));
    assert_ok(cr_state_settle(state));
    cr_state_close(state);

    assert_ok(cr_state_open(root, &test_key, &state));
    assert_true(state->finished && state->settled);
    assert_ok(cr_state_begin(state, job, first)); // another run
    assert_false(state->members[0].came);
    cr_state_close(state);
    cr_vector_release(first);
    cr_vector_release(second);
}

static void test_one_server_at_a_time(void **unused)
{
    (void)unused;
    struct cr_state_dir *first, *second;
    assert_ok(cr_state_open(root, &test_key, &first));
    assert_fails(CR_INVALID, "another server is running", cr_state_open(root, &test_key, &second));
    cr_state_close(first);
    assert_ok(cr_state_open(root, &test_key, &second));
    cr_state_close(second);
}

static void leave(const char *name)
{
    write_text(path_in(name), "half");
}

static void leave_below(const char *name)
{
    CR_FREE char *folder = NULL;
    assert_ok(cr_path_directory(path_in(name), &folder));
    assert_ok(cr_directory_make(folder, true));
    leave(name);
}

// By whoever has the directory to itself, and by nobody else.
static void test_what_a_kill_left_goes(void **unused)
{
    (void)unused;
    static const char *const left[] = {"values-3.sealed.tmp.17", "trainer-00ff.sealed.tmp.4711",
                                       "state.sealed.tmp.1",     "sealing.key.tmp.2",
                                       "job.cbor.tmp.5",         "certificate.pem.tmp.10"};
    static const char *const of_server[] = {"authority/key.sealed.tmp.1", "server/certificate.pem.tmp.2",
                                            "owner/key.pem.tmp.3", "invitations/ab.json.tmp.4"};
    static const char *const others[] = {"values-3.sealed", "notes.tmp.x", "notes.tmp.5.txt", "notes.tmp."};
    enum { LEFT = sizeof left / sizeof *left, OF_SERVER = 4, OTHERS = 4 };
    const struct cr_token token = {.name = "anne"};
    struct cr_state_dir *server, *other_server;
    struct cr_client_state *silo, *other_silo;
    for (int role = 0; role < 2; role++) {
        assert_ok(cr_directory_make(root, true));
        for (size_t i = 0; i < LEFT; i++) leave(left[i]);
        for (size_t i = 0; i < OTHERS; i++) leave(others[i]);
        for (size_t i = 0; !role && i < OF_SERVER; i++) leave_below(of_server[i]);
        assert_ok(role ? cr_client_state_open(root, &token, &test_key, &silo)
                       : cr_state_open(root, &test_key, &server));
        for (size_t i = 0; i < LEFT; i++) assert_false(cr_file_exists(path_in(left[i])));
        for (size_t i = 0; i < OTHERS; i++) assert_true(cr_file_exists(path_in(others[i])));
        for (size_t i = 0; i < OF_SERVER; i++) assert_false(cr_file_exists(path_in(of_server[i])));
        leave(left[0]); // what the one that runs is writing
        assert_fails(CR_INVALID, role ? "another process is using" : "another server is running",
                     role ? cr_client_state_open(root, &token, &test_key, &other_silo)
                          : cr_state_open(root, &test_key, &other_server));
        assert_true(cr_file_exists(path_in(left[0])));
        if (role)
            cr_client_state_close(silo);
        else
            cr_state_close(server);
    }
}

// By a kill between a round's end and the removal of what it began with. What the state names, or a newer one
// may name that is put back, stays.
static void test_what_is_left_of_past_rounds_goes(void **unused)
{
    (void)unused;
    static const char *const past[2][3] = {{"values-0.sealed", "values-1.sealed", "values-2.sealed"},
                                           {"trainer-0.sealed", "trainer-1.sealed", "trainer-2.sealed"}};
    static const char *const kept[2][4] = {
        {"values-4.sealed", "values-01.sealed", "values-.sealed", "values-1.sealed.old"},
        {"trainer-3.sealed", "trainer-4.sealed", "trainer-00ff.sealed", "trainer-1.old"}};
    static const unsigned char run[32] = {5};
    const struct cr_answer answer = {.round = 3, .start = {1}, .digest = {2}, .labelled = 7, .loss_sum = 1};
    const struct cr_token token = {.name = "anne"};
    struct cr_state_dir *server;
    struct cr_client_state *silo;
    struct cr_vector *values = numbers(1), *found;
    unsigned char digest[32];
    assert_ok(cr_state_open(root, &test_key, &server));
    assert_ok(cr_state_begin(server, job, values));
    assert_ok(cr_state_store(server, 3, values, digest));
    assert_ok(cr_state_advance(server, 3, false, digest));
    cr_state_close(server);
    assert_ok(cr_client_state_open(root, &token, &test_key, &silo));
    assert_ok(cr_client_state_keep(silo, run, &answer));
    cr_client_state_close(silo);
    for (int role = 0; role < 2; role++) {
        for (size_t i = 0; i < 3; i++) leave(past[role][i]);
        for (size_t i = 0; i < 4; i++) leave(kept[role][i]);
        if (role)
            assert_ok(cr_client_state_open(root, &token, &test_key, &silo));
        else
            assert_ok(cr_state_open(root, &test_key, &server));
        for (size_t i = 0; i < 3; i++) assert_false(cr_file_exists(path_in(past[role][i])));
        for (size_t i = 0; i < 4; i++) assert_true(cr_file_exists(path_in(kept[role][i])));
    }
    assert_ok(cr_state_values(server, &found));
    cr_vector_release(found);
    cr_vector_release(values);
    cr_client_state_close(silo);
    cr_state_close(server);
}

static void test_an_old_certificate_is_renewed(void **unused)
{
    (void)unused;
    struct cr_state_dir *state;
    struct cr_identity *old;
    const int64_t now = cr_clock_unix();
    CR_CLEANUP(cr_buffer_release) struct cr_buffer request = {0};
    CR_CLEANUP(cr_buffer_release) struct cr_buffer certificate = {0};
    CR_CLEANUP(cr_buffer_release) struct cr_buffer ca = {0};
    assert_ok(cr_state_open(root, &test_key, &state));
    assert_false(cr_identity_expired(state->server, now));
    assert_ok(cr_identity_new(&old));
    assert_true(cr_identity_expired(old, now));
    assert_ok(cr_identity_request(old, &request));
    assert_ok(cr_identity_issue(state->authority, cr_buffer_slice(&request), "server", "server",
                                now - 800 * 86400, &certificate));
    assert_ok(cr_identity_authority_der(state->authority, &ca));
    assert_ok(cr_identity_install(old, cr_buffer_slice(&certificate), cr_buffer_slice(&ca)));
    assert_true(cr_identity_expired(old, now));
    const struct cr_sealing sealing = {.key = &test_key, .purpose = "server key"};
    assert_ok(cr_identity_save(old, path_in("server"), &sealing));
    cr_identity_free(old);
    cr_state_close(state);
    for (int i = 0; i < 2; i++) {
        assert_ok(cr_state_open(root, &test_key, &state));
        assert_false(cr_identity_expired(state->server, now + 700 * 86400));
        cr_state_close(state);
    }
}

// A finished run makes room for another, of which nothing is told yet.
static void test_another_run_begins_anew(void **unused)
{
    (void)unused;
    struct cr_state_dir *state;
    struct cr_vector *values = numbers(1);
    unsigned char digest[32], run[32];
    assert_ok(cr_state_open(root, &test_key, &state));
    assert_ok(cr_state_begin(state, job, values));
    memcpy(run, state->run, sizeof run);
    assert_ok(cr_state_store(state, 2, values, digest));
    assert_ok(cr_state_advance(state, 2, true, digest));
    assert_ok(cr_state_settle(state));
    assert_ok(cr_state_deliver(state));
    for (int begun = 0; begun < 2; begun++) {
        if (begun) assert_ok(cr_state_begin(state, job, values));
        cr_state_close(state);
        assert_ok(cr_state_open(root, &test_key, &state));
        assert_int_equal(state->round, begun ? 0 : 2);
        assert_int_equal(state->finished && state->settled && state->delivered, !begun);
        assert_int_equal(state->finished || state->settled || state->delivered, !begun);
        assert_int_equal(memcmp(state->run, run, sizeof run) == 0, !begun);
    }
    cr_vector_release(values);
    cr_state_close(state);
}

static void test_damaged_state(void **unused)
{
    (void)unused;
    struct cr_state_dir *state;
    struct cr_vector *values = numbers(1), *found;
    assert_ok(cr_state_open(root, &test_key, &state));
    assert_ok(cr_state_begin(state, job, values));
    cr_state_close(state);

    assert_ok(cr_state_open(root, &test_key, &state));
    values->values[999] = 0;
    struct cr_sealing sealing = {&test_key, "global values", {3}};
    assert_ok(cr_seal_write(path_in("values-0.sealed"), &sealing, cr_vector_slice(values, 0, 1000)));
    assert_fails(CR_INVALID, "not the values that state.sealed names", cr_state_values(state, &found));
    assert_ok(cr_seal_write(path_in("values-0.sealed"), &sealing, cr_vector_slice(values, 0, 10)));
    assert_fails(CR_INVALID, "not the values that state.sealed names", cr_state_values(state, &found));
    sealing.bound[0] = 4;
    assert_ok(cr_seal_write(path_in("values-0.sealed"), &sealing, cr_vector_slice(values, 0, 1000)));
    assert_fails(CR_INVALID, "values-0.sealed: sealed for another job", cr_state_values(state, &found));
    assert_ok(cr_file_write(path_in("values-0.sealed"), cr_vector_slice(values, 0, 1000), true));
    assert_fails(CR_INVALID, "values-0.sealed: not a sealed file", cr_state_values(state, &found));
    cr_state_close(state);

    static const char *const wrong[] = {"",
                                        "[]",
                                        "{\"begun\": true}",
                                        "{\"begun\": true, \"round\": -1}",
                                        "{\"begun\": true, \"round\": 1, \"count\": 5, \"run\": \"ab\"}",
                                        "{\"members\": [{\"name\": \"a\"}]}"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        sealing = (struct cr_sealing){&test_key, "server state", {0}};
        assert_ok(cr_seal_write(path_in("state.sealed"), &sealing, cr_slice_of_string(wrong[i])));
        assert_fails(CR_INVALID, "state.sealed", cr_state_open(root, &test_key, &state));
    }
    cr_vector_release(values);
}

// Every prefix of a file, and every byte of it changed: refused by name.
static void damage(const char *name, enum cr_status (*open_it)(const struct cr_token *token),
                   const struct cr_token *token)
{
    CR_CLEANUP(cr_buffer_release) struct cr_buffer text = {0};
    assert_ok(cr_file_read(path_in(name), 1 << 16, &text));
    for (size_t i = 0; i < 2 * text.size; i++) {
        struct cr_slice bytes = {text.data, i < text.size ? i : text.size};
        unsigned char *changed = i < text.size ? NULL : &text.data[i - text.size];
        if (changed) *changed ^= 0x15;
        write_bytes(path_in(name), bytes);
        enum cr_status status = open_it(token);
        if (changed) *changed ^= 0x15;
        if (status == CR_OK) fail_msg("%s: change %zu is not found", name, i);
        if ((status != CR_INVALID && status != CR_UNSUPPORTED) || !strstr(cr_error_message(), name))
            fail_msg("%s", cr_error_message());
    }
    write_bytes(path_in(name), cr_buffer_slice(&text));
    assert_ok(open_it(token));
}

static enum cr_status open_server(const struct cr_token *token)
{
    (void)token;
    struct cr_state_dir *state;
    CR_TRY(cr_state_open(root, &test_key, &state));
    cr_state_close(state);
    return CR_OK;
}

static enum cr_status open_silo(const struct cr_token *token)
{
    struct cr_client_state *state;
    CR_TRY(cr_client_state_open(root, token, &test_key, &state));
    cr_client_state_close(state);
    return CR_OK;
}

static void test_every_damage_to_the_servers_state(void **unused)
{
    (void)unused;
    struct cr_state_dir *state;
    struct cr_vector *values = numbers(1);
    assert_ok(cr_state_open(root, &test_key, &state));
    assert_ok(cr_state_begin(state, job, values));
    assert_ok(cr_state_enrol(state, &(struct cr_member){"anne", "silo", {9}, false}));
    cr_state_close(state);
    damage("state.sealed", open_server, NULL);
    cr_vector_release(values);
}

static void test_every_damage_to_a_silos_state(void **unused)
{
    (void)unused;
    struct cr_client_state *silo;
    const struct cr_token token = {.name = "anne"};
    assert_ok(cr_client_state_open(root, &token, &test_key, &silo));
    static const unsigned char run[32] = {5};
    const struct cr_answer answer = {.round = 4, .start = {1}, .digest = {2}, .labelled = 7, .loss_sum = 0.1};
    assert_ok(cr_client_state_keep(silo, run, &answer));
    assert_ok(cr_client_state_see(silo, &(struct cr_seen){.round = 4}));
    cr_client_state_close(silo);
    damage("update.sealed", open_silo, &token);
    damage("seen.sealed", open_silo, &token);
    damage("key.sealed", open_silo, &token);
}

static void test_ports(void **unused)
{
    (void)unused;
    struct cr_state_dir *state;
    unsigned port = 1;
    assert_ok(cr_state_open(root, &test_key, &state));
    assert_ok(cr_state_read_port(root, &port));
    assert_int_equal(port, 0);
    assert_ok(cr_state_write_port(state, 65535));
    assert_ok(cr_state_read_port(root, &port));
    assert_int_equal(port, 65535);
    assert_ok(cr_file_write(path_in("port"), cr_slice_of_string("80a\n"), true));
    assert_fails(CR_INVALID, "a port number", cr_state_read_port(root, &port));
    cr_state_close(state);
}

static void enrol(struct cr_client_state *silo, const struct cr_identity *authority, const char *name)
{
    CR_CLEANUP(cr_buffer_release) struct cr_buffer request = {0};
    CR_CLEANUP(cr_buffer_release) struct cr_buffer certificate = {0};
    CR_CLEANUP(cr_buffer_release) struct cr_buffer ca = {0};
    assert_ok(cr_identity_request(silo->identity, &request));
    assert_ok(
        cr_identity_issue(authority, cr_buffer_slice(&request), name, "silo", cr_clock_unix(), &certificate));
    assert_ok(cr_identity_authority_der(authority, &ca));
    assert_ok(cr_client_state_enrol(silo, cr_buffer_slice(&certificate), cr_buffer_slice(&ca)));
}

static void test_a_silo_finds_its_state(void **unused)
{
    (void)unused;
    struct cr_identity *authority;
    struct cr_client_state *silo, *second;
    struct cr_token token = {.name = "anne"};
    assert_ok(cr_identity_new_authority("test", cr_clock_unix(), &authority));
    assert_ok(cr_identity_fingerprint(authority, token.fingerprint));
    assert_ok(cr_client_state_open(root, &token, &test_key, &silo));
    assert_false(silo->enrolled || silo->has_answer || silo->has_seen);
    assert_fails(CR_INVALID, "another process is using",
                 cr_client_state_open(root, &token, &test_key, &second));
    enrol(silo, authority, "anne");
    static const unsigned char run[32] = {5};
    struct cr_answer answer = {.round = 4, .start = {1}, .digest = {2}, .labelled = 77, .loss_sum = 0.1};
    assert_ok(cr_client_state_keep(silo, run, &answer));
    const struct cr_seen seen = {.run = {5}, .round = 3, .start = {6}, .receipt = {7}};
    assert_ok(cr_client_state_see(silo, &seen));
    cr_client_state_close(silo);

    assert_ok(cr_client_state_open(root, &token, &test_key, &silo));
    assert_true(silo->enrolled && silo->has_answer);
    assert_memory_equal(silo->run, run, 32);
    assert_int_equal(silo->answer.round, 4);
    assert_int_equal(silo->answer.labelled, 77);
    assert_true(silo->answer.loss_sum == 0.1);
    assert_memory_equal(silo->answer.start, answer.start, 32);
    assert_true(silo->has_seen);
    assert_memory_equal(&silo->seen, &seen, sizeof seen);
    // And the token that it joined with, for who has none at hand; not its secret.
    struct cr_token kept = {0}, joined = token;
    strcpy(joined.role, "silo");
    strcpy(joined.address, "localhost:7423");
    memset(joined.secret, 3, sizeof joined.secret);
    assert_fails(CR_NOT_FOUND, "server.token", cr_client_state_token(root, &kept));
    assert_ok(cr_client_state_keep_token(silo, &joined));
    assert_ok(cr_client_state_token(root, &kept));
    memset(joined.secret, 0, sizeof joined.secret);
    assert_memory_equal(&kept, &joined, sizeof kept);
    assert_ok(cr_file_write(path_in("server.token"), cr_slice_of_string("carrel2.AAAA"), true));
    assert_fails(CR_INVALID, "server.token: ", cr_client_state_token(root, &kept));
    // The learner's state of the round before goes once the next one is kept.
    CR_FREE char *older = NULL;
    assert_ok(cr_client_state_trainer(silo, 4, &older));
    assert_ok(cr_file_write(older, cr_slice_of_string("x"), true));
    answer.round = 5;
    assert_ok(cr_client_state_keep(silo, run, &answer));
    assert_false(cr_file_exists(older));
    cr_client_state_close(silo);

    strcpy(token.name, "ben");
    assert_fails(CR_INVALID, "identity of anne, not of ben",
                 cr_client_state_open(root, &token, &test_key, &silo));
    strcpy(token.name, "anne");
    token.fingerprint[0] ^= 1;
    assert_fails(CR_INVALID, "another federation", cr_client_state_open(root, &token, &test_key, &silo));
    token.fingerprint[0] ^= 1;
    struct cr_sealing of_job = {.key = &test_key, .purpose = "silo update"};
    memcpy(of_job.bound, token.job, CR_SHA256_SIZE);
    assert_ok(cr_seal_write(path_in("update.sealed"), &of_job, cr_slice_of_string("{\"round\": 1")));
    assert_fails(CR_INVALID, "update.sealed", cr_client_state_open(root, &token, &test_key, &silo));
    cr_identity_free(authority);
}

// The secret that tests/e2e/test_slicing_simulate.py gives its servers, sealed under the key beside it: bytes
// 0 to 31. CARREL_WRITE_SEED makes the files anew.
static void test_a_seed_that_was_sealed_before(void **unused)
{
    (void)unused;
    static const char seed_path[] = "tests/e2e/sealed_seed/seed.sealed";
    struct cr_sealing_key key = {.source = "development"};
    const struct cr_sealing sealing = {.key = &key, .purpose = "seed"};
    CR_CLEANUP(cr_buffer_release) struct cr_buffer bytes = {0};
    CR_CLEANUP(cr_buffer_release) struct cr_buffer copy = {0};
    unsigned char secret[CR_SEED_SECRET_SIZE], found[CR_SEED_SECRET_SIZE];
    for (size_t i = 0; i < sizeof secret; i++) secret[i] = (unsigned char)i;
    assert_ok(cr_file_read("tests/e2e/sealed_seed/sealing.key", sizeof key.key, &bytes));
    assert_int_equal(bytes.size, sizeof key.key);
    memcpy(key.key, bytes.data, sizeof key.key);
    if (getenv("CARREL_WRITE_SEED"))
        assert_ok(cr_seal_write(seed_path, &sealing, (struct cr_slice){secret, sizeof secret}));
    assert_ok(cr_file_read(seed_path, 4096, &copy));
    struct cr_state_dir *state;
    assert_ok(cr_state_open(root, &key, &state));
    assert_ok(cr_file_write(path_in("seed.sealed"), cr_buffer_slice(&copy), true));
    static const unsigned char own[32], owners[32] = {1}, another[32] = {1, 2};
    unsigned char of_owner[CR_SEED_SECRET_SIZE];
    assert_ok(cr_state_seed_secret(state, own, found));
    assert_memory_equal(found, secret, sizeof secret);
    // An owner's job has its own, which no other job gets, under whatever name.
    assert_ok(cr_state_seed_secret(state, owners, of_owner));
    assert_memory_not_equal(of_owner, secret, sizeof secret);
    assert_ok(cr_state_seed_secret(state, owners, found));
    assert_memory_equal(found, of_owner, sizeof found);
    cr_buffer_clear(&copy);
    assert_ok(cr_file_read(path_in("seed-0100000000000000.sealed"), 4096, &copy));
    assert_ok(cr_file_write(path_in("seed-0102000000000000.sealed"), cr_buffer_slice(&copy), true));
    assert_ok(cr_file_write(path_in("seed.sealed"), cr_buffer_slice(&copy), true));
    assert_fails(CR_INVALID, "another job", cr_state_seed_secret(state, another, found));
    assert_fails(CR_INVALID, "another job", cr_state_seed_secret(state, own, found));
    assert_ok(cr_seal_write(path_in("seed.sealed"), &sealing, (struct cr_slice){secret, sizeof secret - 1}));
    assert_fails(CR_INVALID, "31 bytes, where a secret has 32", cr_state_seed_secret(state, own, found));
    cr_state_close(state);
}

#define WITH_DIRECTORY(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_DIRECTORY(test_what_was_made_in_the_future),
        WITH_DIRECTORY(test_a_server_finds_its_state),
        WITH_DIRECTORY(test_one_server_at_a_time),
        WITH_DIRECTORY(test_what_a_kill_left_goes),
        WITH_DIRECTORY(test_what_is_left_of_past_rounds_goes),
        WITH_DIRECTORY(test_an_old_certificate_is_renewed),
        WITH_DIRECTORY(test_another_run_begins_anew),
        WITH_DIRECTORY(test_damaged_state),
        WITH_DIRECTORY(test_every_damage_to_the_servers_state),
        WITH_DIRECTORY(test_every_damage_to_a_silos_state),
        WITH_DIRECTORY(test_ports),
        WITH_DIRECTORY(test_a_seed_that_was_sealed_before),
        WITH_DIRECTORY(test_a_silo_finds_its_state),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
