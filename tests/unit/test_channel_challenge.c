// channel/challenge.h without a network: what two ends say to each other, and what becomes of it when one of
// them says something else.
#include "intel_support.h"
#include "temporary.h"

#include "attestation/development.h"
#include "base/clock.h"
#include "base/file.h"
#include "channel/challenge.h"

enum { LIMIT = 30 }; // seconds

// One end, with what it was told.
struct side {
    struct cr_admission admission;
    struct cr_challenge *challenge;
    size_t looked;
    bool admitted;
    uint64_t round;
    char refusal[1024];
};

static struct cr_appraisal_policy lenient;
static int64_t now_unix;

static int64_t clock_of_test(void)
{
    return now_unix;
}

static enum cr_status on_appraised(void *context, const struct cr_appraised *what)
{
    struct side *side = context;
    side->looked++;
    side->admitted = !what->refusal;
    side->round = what->round;
    snprintf(side->refusal, sizeof side->refusal, "%s", what->refusal ? what->refusal : "");
    return CR_OK;
}

static struct cr_ends ends_of(const char *own, const char *peer, unsigned char connection)
{
    struct cr_ends ends = {.address = "127.0.0.1:1"};
    snprintf(ends.own.name, sizeof ends.own.name, "the-%s", own);
    snprintf(ends.peer.name, sizeof ends.peer.name, "the-%s", peer);
    snprintf(ends.own.role, sizeof ends.own.role, "%s", own);
    snprintf(ends.peer.role, sizeof ends.peer.role, "%s", peer);
    memset(ends.own.key, own[1], sizeof ends.own.key);
    memset(ends.peer.key, peer[1], sizeof ends.peer.key);
    memset(ends.exporter, connection, sizeof ends.exporter);
    return ends;
}

static void start_as(struct side *side, const struct cr_ends *ends)
{
    if (!side->admission.policy) {
        *side = (struct side){.admission = {.shows = true,
                                            .demands = true,
                                            .attester = CR_ATTESTER_DEVELOPMENT,
                                            .places = &cr_attester_places,
                                            .policy = &lenient,
                                            .limit = LIMIT,
                                            .clock = clock_of_test,
                                            .appraised = on_appraised}};
        memset(side->admission.job, 0x4a, sizeof side->admission.job);
    }
    side->admission.context = side;
    assert_ok(cr_challenge_new(&side->admission, ends, 0, &side->challenge));
}

// A server and a silo at the two ends of a connection with that exporter.
static void start(struct side *server, struct side *silo, unsigned char connection)
{
    const struct cr_ends at_server = ends_of("server", "silo", connection);
    const struct cr_ends at_silo = ends_of("silo", "server", connection);
    start_as(server, &at_server);
    start_as(silo, &at_silo);
}

static void finish(struct side *server, struct side *silo)
{
    cr_challenge_free(server->challenge);
    cr_challenge_free(silo->challenge);
}

// `to` takes what `from` asks, and answers.
static struct cr_message ask(const struct side *from, struct side *to)
{
    struct cr_message question, answer;
    cr_challenge_ask(from->challenge, &question);
    assert_ok(cr_challenge_take(to->challenge, &question, 0, &answer));
    assert_int_equal(answer.type, CR_FRAME_EVIDENCE);
    return answer;
}

static enum cr_status show(struct side *to, const struct cr_message *evidence, double now)
{
    struct cr_message answer;
    CR_TRY(cr_challenge_take(to->challenge, evidence, now, &answer));
    assert_int_equal(answer.type, CR_FRAME_ADMITTED);
    return CR_OK;
}

static enum cr_status say(struct side *to, enum cr_frame_type type)
{
    const struct cr_message message = {.type = type};
    struct cr_message answer;
    return cr_challenge_take(to->challenge, &message, 0, &answer);
}

static void assert_refused(const struct side *side, const char *part)
{
    assert_false(side->admitted);
    assert_false(cr_challenge_done(side->challenge));
    if (!strstr(side->refusal, part)) fail_msg("\"%s\" lacks \"%s\"", side->refusal, part);
}

static void test_two_ends_admit_each_other(void **state)
{
    (void)state;
    struct side server = {0}, silo = {0};
    start(&server, &silo, 1);
    struct cr_message of_silo = ask(&server, &silo), of_server = ask(&silo, &server);
    assert_false(cr_slice_equal(of_silo.evidence.binding, of_server.evidence.binding));
    assert_ok(show(&server, &of_silo, 1));
    assert_true(server.admitted);
    assert_false(cr_challenge_done(server.challenge)); // the silo has not admitted it
    assert_ok(show(&silo, &of_server, 1));
    assert_ok(say(&server, CR_FRAME_ADMITTED));
    assert_ok(say(&silo, CR_FRAME_ADMITTED));
    assert_true(cr_challenge_done(server.challenge) && cr_challenge_done(silo.challenge));
    assert_int_equal(server.looked, 1);
    assert_ok(cr_challenge_again(server.challenge, 3));
    assert_int_equal(server.looked, 2);
    assert_int_equal(server.round, 3);
    finish(&server, &silo);
}

static void test_the_report_data_are_as_documented(void **state)
{
    (void)state;
    struct side server = {0}, silo = {0};
    start(&server, &silo, 0xee);
    struct cr_message question, evidence = ask(&server, &silo);
    struct cr_buffer cbor = {0};
    unsigned char digest[64];
    struct cr_development shown;
    // By docs/PROTOCOL.md, not by our own writer.
    assert_ok(cr_append(&cbor,
                        "\x89\x77"
                        "carrel attested channel"
                        "\x01\x64"
                        "silo",
                        31));
    cr_challenge_ask(server.challenge, &question);
    assert_ok(cr_append(&cbor, "\x58\x20", 2));
    assert_ok(cr_append(&cbor, question.challenge.nonce, 32));
    cr_challenge_ask(silo.challenge, &question);
    assert_ok(cr_append(&cbor, "\x58\x20", 2));
    assert_ok(cr_append(&cbor, question.challenge.nonce, 32));
    static const unsigned char fills[] = {0xee, 'i', 'e', 0x4a}; // exporter, silo's key, server's key, job
    for (size_t i = 0; i < sizeof fills; i++) {
        unsigned char field[32];
        memset(field, fills[i], sizeof field);
        assert_ok(cr_append(&cbor, "\x58\x20", 2));
        assert_ok(cr_append(&cbor, field, sizeof field));
    }
    assert_true(cr_slice_equal(cr_buffer_slice(&cbor), evidence.evidence.binding));
    SHA512(cbor.data, cbor.size, digest);
    assert_ok(cr_development_parse(evidence.body, &shown));
    assert_memory_equal(shown.report_data.data, digest, sizeof digest);
    cr_buffer_release(&cbor);
    finish(&server, &silo);
}

static void test_replayed_evidence(void **state)
{
    (void)state;
    struct side server = {0}, silo = {0}, server_again = {0}, silo_again = {0};
    start(&server, &silo, 1);
    start(&server_again, &silo_again, 1); // even with the same exporter
    struct cr_message earlier = ask(&server, &silo);
    ask(&server_again, &silo_again);
    ask(&silo_again, &server_again);
    assert_fails(CR_DENIED, "the-silo is not admitted: its evidence answers another challenge (replayed)",
                 show(&server_again, &earlier, 1));
    assert_refused(&server_again, "(replayed)");
    finish(&server, &silo);
    finish(&server_again, &silo_again);
}

static void test_reflected_evidence(void **state)
{
    (void)state;
    struct side server = {0}, silo = {0};
    start(&server, &silo, 1);
    struct cr_message own = ask(&silo, &server);
    assert_fails(CR_DENIED, "it sent this end's own evidence back (reflected)", show(&server, &own, 1));
    assert_refused(&server, "(reflected)");
    finish(&server, &silo);
}

// The silo's program is genuine and says that it is a server.
static void test_confused_roles(void **state)
{
    (void)state;
    struct side server = {0}, silo = {0};
    struct cr_ends at_server = ends_of("server", "silo", 1), at_silo = ends_of("silo", "server", 1);
    memcpy(at_silo.own.role, "server", 7);
    start_as(&server, &at_server);
    start_as(&silo, &at_silo);
    struct cr_message evidence = ask(&server, &silo);
    ask(&silo, &server);
    assert_fails(CR_DENIED, "its evidence is of a server, and its certificate a silo's",
                 show(&server, &evidence, 1));
    assert_refused(&server, "certificate a silo's");
    finish(&server, &silo);
}

// Whoever is in the middle has passed both nonces on: what is left is that the connections are two.
static void test_relayed_evidence(void **state)
{
    (void)state;
    static const char *const reasons[] = {"of another certificate's owner (relayed)",
                                          "was made for somebody else (relayed)",
                                          "is of another connection (relayed)"};
    for (size_t which = 0; which < 3; which++) {
        struct side server = {0}, silo = {0};
        struct cr_ends at_server = ends_of("server", "silo", 1), at_silo = ends_of("silo", "server", 2);
        if (which == 0) memset(at_server.peer.key, 'm', sizeof at_server.peer.key);
        if (which == 1) memset(at_silo.peer.key, 'm', sizeof at_silo.peer.key);
        start_as(&server, &at_server);
        start_as(&silo, &at_silo);
        struct cr_message evidence = ask(&server, &silo);
        ask(&silo, &server);
        assert_fails(CR_DENIED, reasons[which], show(&server, &evidence, 1));
        assert_refused(&server, reasons[which]);
        finish(&server, &silo);
    }
}

static void test_another_job(void **state)
{
    (void)state;
    struct side server = {0}, silo = {0};
    start(&server, &silo, 1);
    finish(&server, &silo);
    silo.admission.job[31] ^= 1;
    start(&server, &silo, 1);
    struct cr_message of_silo = ask(&server, &silo), of_server = ask(&silo, &server);
    assert_fails(CR_DENIED, "is for another job", show(&server, &of_silo, 1));
    assert_fails(CR_DENIED, "is for another job", show(&silo, &of_server, 1));
    finish(&server, &silo);
}

static void test_a_binding_that_is_not_the_evidence_s(void **state)
{
    (void)state;
    struct side server = {0}, silo = {0}, liar = {0};
    start(&server, &silo, 1);
    const struct cr_ends elsewhere = ends_of("silo", "server", 2);
    start_as(&liar, &elsewhere);
    struct cr_message evidence = ask(&server, &silo), other = ask(&server, &liar);
    ask(&silo, &server);
    // What the right answer would be bound to, beside evidence of something else.
    evidence.body = other.body;
    assert_fails(CR_DENIED, "not bound to what came with it", show(&server, &evidence, 1));
    assert_refused(&server, "not bound to what came with it");
    finish(&server, &silo);
    cr_challenge_free(liar.challenge);
}

static void test_what_is_no_evidence(void **state)
{
    (void)state;
    struct platform p;
    struct cr_buffer pem = {0};
    platform_make(&p, 3, false);
    put_pem(&pem, &p.pck); // `carrel verify` affirms it, as what it is
    const struct {
        struct cr_slice body;
        const char *part;
    } cases[] = {{cr_slice_of_string("a letter of recommendation"), "showed no evidence that can be read"},
                 {{NULL, 0}, "showed no evidence that can be read"},
                 {cr_buffer_slice(&pem), "is bound to nothing"}};
    for (size_t i = 0; i < 3; i++) {
        struct side server = {0}, silo = {0};
        start(&server, &silo, 1);
        struct cr_message evidence = ask(&server, &silo);
        ask(&silo, &server);
        evidence.body = cases[i].body;
        assert_fails(CR_DENIED, cases[i].part, show(&server, &evidence, 1));
        assert_refused(&server, cases[i].part);
        finish(&server, &silo);
    }
    platform_free(&p);
    cr_buffer_release(&pem);
}

static void test_late_evidence(void **state)
{
    (void)state;
    struct side server = {0}, silo = {0};
    start(&server, &silo, 1);
    struct cr_message evidence = ask(&server, &silo);
    ask(&silo, &server);
    assert_ok(cr_challenge_check_time(server.challenge, LIMIT));
    assert_fails(CR_TIMEOUT, "the-silo: it showed no evidence within 30 seconds of the challenge",
                 cr_challenge_check_time(server.challenge, LIMIT + 0.5));
    assert_fails(CR_TIMEOUT, "showed no evidence within 30", show(&server, &evidence, LIMIT + 0.5));
    assert_int_equal(server.looked, 0);
    assert_ok(show(&server, &evidence, LIMIT));
    assert_fails(CR_TIMEOUT, "it did not admit this end within 30 seconds",
                 cr_challenge_check_time(server.challenge, LIMIT + 0.5));
    assert_ok(say(&server, CR_FRAME_ADMITTED));
    assert_ok(cr_challenge_check_time(server.challenge, LIMIT + 0.5));
    finish(&server, &silo);
}

static void test_the_order_of_messages(void **state)
{
    (void)state;
    struct side server = {0}, silo = {0};
    struct cr_message question, answer;
    start(&server, &silo, 1);
    assert_fails(CR_PROTOCOL, "admits what it was not shown", say(&server, CR_FRAME_ADMITTED));
    assert_fails(CR_PROTOCOL, "Job came before both ends were attested", say(&silo, CR_FRAME_JOB));
    struct cr_message evidence = ask(&server, &silo);
    assert_fails(CR_PROTOCOL, "sent evidence before its challenge", show(&server, &evidence, 1));
    ask(&silo, &server);
    cr_challenge_ask(silo.challenge, &question);
    assert_fails(CR_PROTOCOL, "sent a second challenge",
                 cr_challenge_take(server.challenge, &question, 1, &answer));
    assert_fails(CR_PROTOCOL, "before it has shown its own evidence", say(&server, CR_FRAME_ADMITTED));
    assert_ok(show(&server, &evidence, 1));
    assert_fails(CR_PROTOCOL, "sent evidence twice", show(&server, &evidence, 1));
    assert_ok(say(&server, CR_FRAME_ADMITTED));
    assert_fails(CR_PROTOCOL, "admits what it was not shown", say(&server, CR_FRAME_ADMITTED));
    finish(&server, &silo);

    start(&server, &silo, 1);
    cr_challenge_ask(silo.challenge, &question);
    question.challenge.version = CR_PROTOCOL_VERSION + 1;
    assert_fails(CR_PROTOCOL, "where this end speaks",
                 cr_challenge_take(server.challenge, &question, 1, &answer));
    finish(&server, &silo);
}

static void test_a_nonce_of_another_length(void **state)
{
    (void)state;
    for (unsigned char size = 0; size < 64; size++) {
        unsigned char header[68] = {0x08, 0x01, 0x12, size}; // version 1, nonce
        struct cr_frame frame = {.type = CR_FRAME_CHALLENGE, .header = {header, 4U + size}};
        struct cr_message message;
        if (size == 32)
            assert_ok(cr_message_decode(&frame, &message));
        else
            assert_fails(CR_PROTOCOL, "a Challenge message with a wrong nonce",
                         cr_message_decode(&frame, &message));
        if (size == 32) cr_message_release(&message);
    }
}

// A silo of a split model: it shows nothing, and is shown.
static void test_one_end_alone_shows_evidence(void **state)
{
    (void)state;
    struct side server = {0}, silo = {0};
    struct cr_message question, answer;
    start(&server, &silo, 1);
    finish(&server, &silo);
    server.admission.demands = silo.admission.shows = false;
    start(&server, &silo, 1);
    cr_challenge_ask(server.challenge, &question);
    assert_ok(cr_challenge_take(silo.challenge, &question, 1, &answer));
    assert_int_equal(answer.type, 0);
    struct cr_message of_server = ask(&silo, &server);
    assert_false(cr_challenge_done(server.challenge) || cr_challenge_done(silo.challenge));
    assert_fails(CR_PROTOCOL, "evidence, which it was not asked for", show(&server, &of_server, 1));
    assert_fails(CR_PROTOCOL, "admits what it was not shown", say(&silo, CR_FRAME_ADMITTED));
    assert_ok(show(&silo, &of_server, 1));
    assert_true(cr_challenge_done(silo.challenge));
    assert_ok(say(&server, CR_FRAME_ADMITTED));
    assert_true(cr_challenge_done(server.challenge));
    assert_ok(cr_challenge_again(server.challenge, 1));
    assert_ok(cr_challenge_again(silo.challenge, 1));
    assert_int_equal(server.looked, 0);
    assert_int_equal(silo.looked, 2);
    finish(&server, &silo);

    // A server that does not show anything to one that asks is found out by the time.
    start(&server, &silo, 1);
    assert_fails(CR_TIMEOUT, "showed no evidence", cr_challenge_check_time(silo.challenge, LIMIT + 1));
    finish(&server, &silo);
}

static void test_what_the_policy_refuses(void **state)
{
    (void)state;
    struct cr_appraisal_policy strict;
    struct side server = {0}, silo = {0};
    assert_ok(cr_appraisal_policy_default(&strict));
    start(&server, &silo, 1);
    server.admission.policy = &strict;
    struct cr_message evidence = ask(&server, &silo);
    ask(&silo, &server);
    assert_fails(CR_DENIED, "its evidence is refused: a software key signed this",
                 show(&server, &evidence, 1));
    assert_refused(&server, "proves nothing");
    finish(&server, &silo);
    cr_appraisal_policy_release(&strict);
}

static enum cr_status fail_to_write(void *context, const struct cr_appraised *what)
{
    (void)context, (void)what;
    return cr_fail(CR_IO, "the disk is full");
}

static void test_nobody_is_admitted_without_a_record(void **state)
{
    (void)state;
    struct side server = {0}, silo = {0};
    start(&server, &silo, 1);
    server.admission.appraised = fail_to_write;
    struct cr_message evidence = ask(&server, &silo);
    ask(&silo, &server);
    assert_fails(CR_IO, "the disk is full", show(&server, &evidence, 1));
    assert_false(cr_challenge_done(server.challenge));
    finish(&server, &silo);
}

static void put_file(const char *name, struct cr_buffer *bytes)
{
    write_bytes(in_directory(name), cr_buffer_slice(bytes));
    cr_buffer_release(bytes);
}

static void write_collateral(const struct platform *p)
{
    struct cr_buffer pem = {0}, ca_crl = {0}, root_crl = {0}, info = {0}, identity = {0};
    put_pem(&pem, &p->signer);
    put_pem(&pem, &p->root);
    put_crl(&ca_crl, &p->pck_ca, p->revoked_by_ca, p->crl_begins, p->crl_ends);
    put_crl(&root_crl, &p->root, p->revoked_by_root, p->crl_begins, p->crl_ends);
    put_tcb_info(&info, p);
    put_qe_identity(&identity, p);
    put_file("issuers.pem", &pem);
    put_file("ca.crl", &ca_crl);
    put_file("root.crl", &root_crl);
    put_file("tcb.json", &info);
    put_file("identity.json", &identity);
}

// An enclave's quote, of a platform of our own, bound to this connection by hand.
static void test_a_platform_is_looked_at_again_each_round(void **state)
{
    (void)state;
    struct platform p;
    struct side server = {0}, silo = {0};
    struct cr_buffer lines = {0}, quote = {0};
    struct cr_appraisal_policy policy;
    platform_make(&p, 3, false);
    write_collateral(&p);
    assert_ok(cr_append_format(&lines, "sgx:\n  mrenclave: \""));
    for (size_t i = 0; i < 32; i++) assert_ok(cr_append_format(&lines, "a1"));
    assert_ok(cr_append_format(&lines, "\"\n"));
    trust(&p.root, cr_buffer_text(&lines), &policy);
    now_unix = NOW;
    start(&server, &silo, 1);
    server.admission.policy = &policy;
    server.admission.endorsements = directory;
    struct cr_message evidence = ask(&server, &silo);
    ask(&silo, &server);
    SHA512(evidence.evidence.binding.data, evidence.evidence.binding.size, p.report + 320);
    platform_quote(&p, &quote);
    evidence.body = cr_buffer_slice(&quote);
    assert_ok(show(&server, &evidence, 1));
    assert_ok(cr_challenge_again(server.challenge, 1));
    now_unix = p.info_ends + 1;
    assert_fails(CR_DENIED, "expired", cr_challenge_again(server.challenge, 2));
    now_unix = NOW;
    // A clock that was set back is no way out, and nor is what was issued long ago.
    server.admission.time_floor = p.info_ends + 1;
    assert_fails(CR_DENIED, "expired", cr_challenge_again(server.challenge, 2));
    server.admission.time_floor = 0;
    server.admission.collateral_floor = p.info_begins + 1;
    assert_fails(CR_DENIED, "issued at", cr_challenge_again(server.challenge, 2));
    // Nor where the policy lets pass what has expired.
    policy.allow_expired_collateral = true;
    now_unix = p.info_ends + 1;
    assert_fails(CR_DENIED, "issued at", cr_challenge_again(server.challenge, 2));
    policy.allow_expired_collateral = false;
    now_unix = NOW;
    p.info_begins = p.identity_begins = NOW - 3600;
    write_collateral(&p);
    assert_fails(CR_DENIED, "the newest list of revocations", cr_challenge_again(server.challenge, 2));
    p.crl_begins = NOW - 3600;
    write_collateral(&p);
    assert_ok(cr_challenge_again(server.challenge, 2));
    p.revoked_by_ca = &p.pck;
    write_collateral(&p);
    assert_fails(CR_DENIED, "revoked", cr_challenge_again(server.challenge, 3));
    assert_false(server.admitted);
    assert_int_equal(server.round, 3);
    p.revoked_by_ca = NULL;
    p.platform_status = "OutOfDate";
    write_collateral(&p);
    assert_fails(CR_DENIED, "OutOfDate", cr_challenge_again(server.challenge, 4));
    p.platform_status = "UpToDate";
    write_collateral(&p);
    assert_ok(cr_challenge_again(server.challenge, 5));
    finish(&server, &silo);
    cr_appraisal_policy_release(&policy);
    platform_free(&p);
    cr_buffer_release(&lines);
    cr_buffer_release(&quote);
}

static int set_up(void **state)
{
    static const char yaml[] = "allow_development: true\n";
    now_unix = cr_clock_unix();
    if (cr_appraisal_policy_parse(cr_slice_of_string(yaml), "policy", &lenient) != CR_OK) return -1;
    return make_directory(state);
}

static int tear_down(void **state)
{
    cr_appraisal_policy_release(&lenient);
    return remove_directory(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_two_ends_admit_each_other),
        cmocka_unit_test(test_the_report_data_are_as_documented),
        cmocka_unit_test(test_replayed_evidence),
        cmocka_unit_test(test_reflected_evidence),
        cmocka_unit_test(test_confused_roles),
        cmocka_unit_test(test_relayed_evidence),
        cmocka_unit_test(test_another_job),
        cmocka_unit_test(test_a_binding_that_is_not_the_evidence_s),
        cmocka_unit_test(test_what_is_no_evidence),
        cmocka_unit_test(test_late_evidence),
        cmocka_unit_test(test_the_order_of_messages),
        cmocka_unit_test(test_a_nonce_of_another_length),
        cmocka_unit_test(test_one_end_alone_shows_evidence),
        cmocka_unit_test(test_what_the_policy_refuses),
        cmocka_unit_test(test_nobody_is_admitted_without_a_record),
        cmocka_unit_test(test_a_platform_is_looked_at_again_each_round),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
