// Who a server lets in: silos by the tokens that it made, with the model that it has.
#include "run_support.h"

#include <math.h>

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

// Starts a silo, and waits until it is enrolled.
static void start_enrolled(struct program *silo)
{
    char certificate[600];
    snprintf(certificate, sizeof certificate, "%s/certificate.pem", silo->state);
    start(silo);
    double since = cr_clock_monotonic();
    while (!cr_file_exists(certificate)) {
        usleep(10000);
        assert_true(cr_clock_monotonic() - since < PATIENCE);
    }
}

static void test_tokens(void **state)
{
    (void)state;
    set_up_run("  min_clients: 2\n");
    start_server();
    // Used: another directory is another silo.
    invite(&silos[0], "anne", "anne");
    start_enrolled(&silos[0]);
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
    start_enrolled(&silos[0]);
    atomic_store(&silos[0].stop, true);
    wait_for(&silos[0]);
    invite(&silos[1], "anne", "anne");
    snprintf(silos[1].state, sizeof silos[1].state, "%s/anew", root);
    start_enrolled(&silos[1]);
    refused(&silos[0], CR_DENIED, "enrolled anew");
    atomic_store(&silos[1].stop, true);
    wait_for(&silos[1]);
    stop_server();
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
    static const double seconds[] = {0.5, 366 * 86400.0 + 1, -1, NAN};
    for (size_t i = 0; i < sizeof seconds / sizeof *seconds; i++)
        assert_fails(CR_INVALID, "good for one second to 366 days",
                     cr_invite(&config, "ben", "silo", seconds[i], &token));
    tear_down_run();
}

static void finish(struct program *program)
{
    atomic_store(&program->stop, true);
    wait_for(program);
}

static void key_of(const struct program *silo, unsigned char key[CR_SHA256_SIZE])
{
    const struct cr_sealing of_silo = {.key = &test_key, .purpose = "silo key"};
    CR_CLEANUP(cr_identity_release) struct cr_identity *identity = NULL;
    assert_ok(cr_identity_load(silo->state, &of_silo, &identity));
    assert_ok(cr_identity_key_digest(identity, key));
}

// The file of the invitation to which a silo's token belongs.
static void invitation_of(const struct program *silo, char path[400])
{
    unsigned char hash[CR_SHA256_SIZE];
    char hex[CR_SHA256_HEX_SIZE];
    CR_CLEANUP(cr_token_release) struct cr_token token = {0};
    assert_ok(cr_token_parse(silo->token, &token));
    assert_ok(cr_sha256((struct cr_slice){token.secret, CR_SECRET_SIZE}, hash));
    cr_sha256_hex(hash, hex);
    snprintf(path, 400, "%s/server/invitations/%s.json", root, hex);
}

// Makes a spent invitation what it is before the key that spent it is the member's.
static void put_back_invitation(const struct program *silo, const unsigned char instead[CR_SHA256_SIZE])
{
    char path[400], hex[CR_SHA256_HEX_SIZE];
    CR_CLEANUP(cr_buffer_release) struct cr_buffer text = {0};
    invitation_of(silo, path);
    cr_sha256_hex(instead, hex);
    assert_ok(cr_file_read(path, 4096, &text));
    char *at = strstr((char *)text.data, "\"instead\": \"");
    assert_non_null(at);
    memcpy(at + strlen("\"instead\": \""), hex, CR_SHA256_HEX_SIZE - 1);
    assert_ok(cr_file_write(path, cr_buffer_slice(&text), true));
}

// The server is killed between spending a token that replaces a key and noting the new one: that key may come
// again, and the older one may not once it has.
static void test_a_kill_in_the_middle_of_a_replacement(void **state)
{
    (void)state;
    char path[300];
    unsigned char older[CR_SHA256_SIZE];
    CR_CLEANUP(cr_buffer_release) struct cr_buffer before = {0};
    set_up_run("  min_clients: 3\n");
    snprintf(path, sizeof path, "%s/server/state.sealed", root);
    start_server();
    invite(&silos[0], "anne", "anne");
    start_enrolled(&silos[0]);
    finish(&silos[0]);
    assert_ok(cr_file_read(path, 1 << 20, &before));
    invite(&silos[1], "anne", "anne");
    snprintf(silos[1].state, sizeof silos[1].state, "%s/anew", root);
    start_enrolled(&silos[1]);
    finish(&silos[1]);
    finish(&server);
    assert_ok(cr_file_write(path, cr_buffer_slice(&before), true));
    key_of(&silos[0], older);
    put_back_invitation(&silos[1], older);
    snprintf(path, sizeof path, "%s/anew/certificate.pem", root);
    assert_int_equal(unlink(path), 0);
    start_server();
    start_enrolled(&silos[1]);
    refused(&silos[0], CR_DENIED, "enrolled anew");
    finish(&silos[1]);
    stop_server();
}

// A thief took a silo's place with a token, and the silo took it back with its own key and another token.
static void test_a_thief_that_was_replaced(void **state)
{
    (void)state;
    char certificate[600];
    set_up_run("  min_clients: 3\n");
    start_server();
    invite(&silos[0], "anne", "anne");
    start_enrolled(&silos[0]);
    finish(&silos[0]);
    invite(&silos[1], "anne", "anne");
    snprintf(silos[1].state, sizeof silos[1].state, "%s/thief", root);
    start_enrolled(&silos[1]);
    finish(&silos[1]);
    invite(&silos[0], "anne", "anne");
    snprintf(certificate, sizeof certificate, "%s/certificate.pem", silos[0].state);
    assert_int_equal(unlink(certificate), 0);
    start_enrolled(&silos[0]);
    finish(&silos[0]);
    refused(&silos[1], CR_DENIED, "enrolled anew");
    snprintf(certificate, sizeof certificate, "%s/certificate.pem", silos[1].state);
    assert_int_equal(unlink(certificate), 0);
    refused(&silos[1], CR_DENIED, "used already");
    stop_server();
}

// Two years after a silo enrolled: its certificate is a new one, for the same key, by the token that it has.
static void test_a_certificate_that_has_run_out(void **state)
{
    (void)state;
    enum { DAYS_740 = 740 * 86400 };
    const struct cr_sealing of_silo = {.key = &test_key, .purpose = "silo key"};
    const struct cr_sealing of_authority = {.key = &test_key, .purpose = "authority key"};
    CR_CLEANUP(cr_identity_release) struct cr_identity *authority = NULL, *silo = NULL, *renewed = NULL;
    CR_CLEANUP(cr_buffer_release) struct cr_buffer request = {0}, old = {0}, authority_der = {0};
    char path[300];
    set_up_run("  min_clients: 2\n");
    start_server();
    invite(&silos[0], "anne", "anne");
    start_enrolled(&silos[0]);
    finish(&silos[0]);
    snprintf(path, sizeof path, "%s/server/authority", root);
    assert_ok(cr_identity_load(path, &of_authority, &authority));
    assert_ok(cr_identity_load(silos[0].state, &of_silo, &silo));
    assert_ok(cr_identity_request(silo, &request));
    assert_ok(cr_identity_issue(authority, cr_buffer_slice(&request), "anne", "silo",
                                cr_clock_unix() - DAYS_740, &old));
    assert_ok(cr_identity_authority_der(authority, &authority_der));
    assert_ok(cr_identity_install(silo, cr_buffer_slice(&old), cr_buffer_slice(&authority_der)));
    assert_ok(cr_identity_save(silo, silos[0].state, &of_silo));
    assert_true(cr_identity_expired(silo, cr_clock_unix()));
    start(&silos[0]);
    double since = cr_clock_monotonic();
    do {
        usleep(10000);
        assert_true(cr_clock_monotonic() - since < PATIENCE);
        cr_identity_free(renewed);
        renewed = NULL;
        assert_ok(cr_identity_load(silos[0].state, &of_silo, &renewed));
    } while (cr_identity_expired(renewed, cr_clock_unix()));
    finish(&silos[0]);
    stop_server();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_another_model_is_refused),
        cmocka_unit_test(test_tokens),
        cmocka_unit_test(test_invited_anew),
        cmocka_unit_test(test_a_kill_in_the_middle_of_a_replacement),
        cmocka_unit_test(test_a_thief_that_was_replaced),
        cmocka_unit_test(test_tokens_need_an_address),
        cmocka_unit_test(test_a_certificate_that_has_run_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
