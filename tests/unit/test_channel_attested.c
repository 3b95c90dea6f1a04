// Attested connections over TLS: a server and a silo that are genuine, and others who are not.
#include "channel_support.h"

#include "channel/admission.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <openssl/ssl.h>
#include <sys/socket.h>

static struct cr_appraisal_policy lenient;
static struct cr_admission admissions[2]; // of the server, of the silo
static size_t looked[2], admitted[2];
static bool silo_has_no_disk;

static enum cr_status on_appraised(void *context, const struct cr_appraised *what)
{
    size_t which = (size_t)((struct cr_admission *)context - admissions);
    looked[which]++;
    if (which == 1 && silo_has_no_disk) return cr_fail(CR_IO, "/home/anne/audit.jsonl: the disk is full");
    admitted[which] += !what->refusal;
    return CR_OK;
}

static int set_up_attested(void **state)
{
    set_up(state);
    for (size_t i = 0; i < 2; i++) {
        admissions[i] = (struct cr_admission){.shows = true,
                                              .demands = true,
                                              .attester = CR_ATTESTER_DEVELOPMENT,
                                              .places = &cr_attester_places,
                                              .policy = &lenient,
                                              .limit = 10,
                                              .clock = cr_clock_unix,
                                              .appraised = on_appraised,
                                              .context = &admissions[i]};
        looked[i] = admitted[i] = 0;
    }
    cr_tls_set_admission(server_tls, &admissions[0]);
    assert_ok(cr_tls_new_member(silo_identity, &client_tls));
    cr_tls_set_admission(client_tls, &admissions[1]);
    return 0;
}

#define ATTESTED(test) cmocka_unit_test_setup_teardown(test, set_up_attested, tear_down)

static void test_both_are_admitted_before_they_open(void **state)
{
    (void)state;
    listen_with(10);
    open_client(10);
    until(&server.open);
    until(&client.open);
    assert_int_equal(admitted[0], 1);
    assert_int_equal(admitted[1], 1);
    assert_string_equal(server.peer.name, "st-anne");
    struct cr_message hello = {.type = CR_FRAME_HELLO, .hello.version = CR_PROTOCOL_VERSION};
    assert_ok(cr_connection_send(client.connection, &hello, NULL, NULL));
    while (server.messages == 0) assert_ok(cr_loop_step(loop, 0.05));
    assert_int_equal(server.last, CR_FRAME_HELLO);
    assert_ok(cr_connection_appraise_again(server.connection, 2));
    assert_int_equal(admitted[0], 2);
    cr_connection_close(client.connection);
    until(&server.closed);
    until(&client.closed);
    assert_int_equal(server.status, CR_OK);
    assert_int_equal(client.status, CR_OK);
}

static void test_one_that_is_refused_hears_why(void **state)
{
    (void)state;
    struct cr_appraisal_policy strict;
    assert_ok(cr_appraisal_policy_default(&strict));
    admissions[0].policy = &strict;
    listen_with(10);
    open_client(10);
    until(&client.closed);
    until(&server.closed);
    assert_int_equal(client.status, CR_DENIED);
    assert_non_null(
        strstr(client.why, "the server refused: st-anne is not admitted: its evidence is refused"));
    assert_false(server.open || client.open);
    cr_appraisal_policy_release(&strict);
}

static void test_a_silo_refuses_its_server(void **state)
{
    (void)state;
    admissions[1].job[0] = 1;
    listen_with(10);
    open_client(10);
    until(&client.closed);
    until(&server.closed);
    assert_int_equal(client.status, CR_DENIED);
    assert_int_equal(server.status, CR_DENIED);
    assert_non_null(strstr(client.why, "another job"));
    assert_false(server.open || client.open);
    assert_int_equal(admitted[0] + admitted[1], 0);
}

// What is wrong at its own end is no affair of its server's.
static void test_a_silo_that_cannot_write_what_it_saw(void **state)
{
    (void)state;
    silo_has_no_disk = true;
    listen_with(10);
    open_client(10);
    until(&client.closed);
    until(&server.closed);
    silo_has_no_disk = false;
    assert_int_equal(client.status, CR_IO);
    assert_non_null(strstr(client.why, "/home/anne/audit.jsonl"));
    assert_null(strstr(server.why, "/home"));
    assert_non_null(strstr(server.why, "its own log says why"));
}

static void test_an_end_without_an_attester(void **state)
{
    (void)state;
    for (int which = 0; which < 2; which++) {
        if (which == 1) {
            tear_down(NULL);
            set_up_attested(NULL);
        }
        cr_tls_set_admission(which == 0 ? client_tls : server_tls, NULL);
        listen_with(10);
        open_client(10);
        until(&client.closed);
        until(&server.closed);
        const struct end *without = which == 0 ? &client : &server;
        assert_int_equal(without->status, CR_DENIED);
        assert_non_null(strstr(without->why, "was not told to show any (no attester)"));
        assert_false(which == 0 ? server.open : client.open);
        assert_int_equal(server.messages + client.messages, 0);
    }
}

// A program of an attacker's over TLS, step by step; the loop goes on while it waits.
struct raw {
    SSL *ssl;
    int fd;
    unsigned char in[65536]; // what was read
    size_t size;
};

static void raw_open(struct raw *raw, struct cr_tls *tls, int fd)
{
    *raw = (struct raw){.ssl = SSL_new(cr_tls_context(tls)), .fd = fd};
    assert_non_null(raw->ssl);
    fcntl(fd, F_SETFL, O_NONBLOCK);
    assert_int_equal(SSL_set_fd(raw->ssl, fd), 1);
    if (cr_tls_is_server(tls))
        SSL_set_accept_state(raw->ssl);
    else
        SSL_set_connect_state(raw->ssl);
}

static int connect_to_server(void)
{
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                             .sin_port = htons((uint16_t)cr_listener_port(listener))};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
    return fd;
}

static void raw_close(struct raw *raw)
{
    SSL_free(raw->ssl);
    close(raw->fd);
}

static void raw_handshake(struct raw *raw)
{
    double start = cr_clock_monotonic();
    while (SSL_do_handshake(raw->ssl) != 1) {
        assert_ok(cr_loop_step(loop, 0.01));
        assert_true(cr_clock_monotonic() - start < PATIENCE);
    }
}

static void raw_connect(struct raw *raw)
{
    raw_open(raw, client_tls, connect_to_server());
    raw_handshake(raw);
}

// Takes what has come; false once the other end is gone.
static bool raw_read(struct raw *raw)
{
    int got = SSL_read(raw->ssl, raw->in + raw->size, (int)(sizeof raw->in - raw->size));
    if (got > 0) raw->size += (size_t)got;
    return got > 0 || SSL_get_error(raw->ssl, got) == SSL_ERROR_WANT_READ;
}

static void raw_send(struct raw *raw, const struct cr_message *message)
{
    unsigned char start[CR_FRAME_START_SIZE] = {0};
    struct cr_buffer frame = {0};
    assert_ok(cr_append(&frame, start, sizeof start));
    assert_ok(cr_message_encode(message, &frame));
    assert_ok(cr_frame_start(message->type, frame.size - sizeof start, message->body.size, frame.data));
    assert_ok(cr_append(&frame, message->body.data, message->body.size));
    assert_int_equal(SSL_write(raw->ssl, frame.data, (int)frame.size), (int)frame.size);
    cr_buffer_release(&frame);
}

// The next whole frame that comes, in raw->in: its size.
static size_t raw_frame(struct raw *raw, enum cr_frame_type *type)
{
    double start = cr_clock_monotonic();
    for (;;) {
        if (raw->size >= CR_FRAME_START_SIZE) {
            struct cr_cursor cursor = cr_cursor_over((struct cr_slice){raw->in + 4, 12});
            *type = (enum cr_frame_type)cr_read_u16(&cursor);
            cr_read_u16(&cursor);
            size_t size = CR_FRAME_START_SIZE + cr_read_u32(&cursor);
            size += cr_read_u32(&cursor);
            if (raw->size >= size) return size;
        }
        bool there = raw_read(raw);
        assert_true(there);
        assert_ok(cr_loop_step(loop, 0.01));
        assert_true(cr_clock_monotonic() - start < PATIENCE);
    }
}

static void raw_drop(struct raw *raw, size_t size)
{
    memmove(raw->in, raw->in + size, raw->size - size);
    raw->size -= size;
}

static void raw_expect(struct raw *raw, enum cr_frame_type wanted)
{
    enum cr_frame_type type = CR_FRAME_BEAT;
    while (type == CR_FRAME_BEAT) {
        size_t size = raw_frame(raw, &type);
        raw_drop(raw, size);
    }
    assert_string_equal(cr_frame_name(type), cr_frame_name(wanted));
}

// The server refuses for that reason, and is ready for another connection.
static void raw_refused(struct raw *raw, enum cr_status status, const char *why)
{
    raw_expect(raw, CR_FRAME_REFUSED);
    raw_close(raw);
    until(&server.closed);
    assert_int_equal(server.status, status);
    assert_false(server.open || server.messages > 0);
    if (!strstr(server.why, why)) fail_msg("\"%s\" lacks \"%s\"", server.why, why);
    cr_connection_free(server.connection);
    server = (struct end){0};
}

// The only word of a server is its challenge, and whatever else is said first ends the connection.
static void test_nothing_is_said_before(void **state)
{
    (void)state;
    static const enum cr_frame_type early[] = {CR_FRAME_HELLO, CR_FRAME_READY, CR_FRAME_PULL,
                                               CR_FRAME_VALUES};
    listen_with(10);
    for (size_t i = 0; i < sizeof early / sizeof *early; i++) {
        struct raw raw;
        raw_connect(&raw);
        raw_expect(&raw, CR_FRAME_CHALLENGE);
        raw_send(&raw, &(struct cr_message){.type = early[i]});
        raw_refused(&raw, CR_PROTOCOL, "before both ends are attested: a ");
    }
}

static void test_one_that_shows_nothing(void **state)
{
    (void)state;
    struct raw raw;
    admissions[0].limit = 0.2;
    listen_with(60);
    raw_connect(&raw);
    raw_expect(&raw, CR_FRAME_CHALLENGE);
    raw_refused(&raw, CR_TIMEOUT, "st-anne: it showed no evidence within 0.2 seconds");
}

// Answers a challenge as the genuine silo would, but for `change` (may be NULL), and keeps what it answered.
static void answer(struct raw *raw, const struct cr_message *own, void (*change)(struct cr_binding *binding),
                   struct cr_buffer *binding, struct cr_buffer *evidence)
{
    enum cr_frame_type type = 0;
    struct cr_peer peer;
    struct cr_binding bound = {.role = "silo"};
    unsigned char report_data[64];
    enum cr_evidence_type kind;
    size_t size = raw_frame(raw, &type);
    assert_int_equal(type, CR_FRAME_CHALLENGE);
    struct cr_frame frame = {.type = type,
                             .header = {raw->in + CR_FRAME_START_SIZE, size - CR_FRAME_START_SIZE}};
    struct cr_message challenge;
    assert_ok(cr_message_decode(&frame, &challenge));
    memcpy(bound.challenge, challenge.challenge.nonce, CR_NONCE_SIZE);
    memcpy(bound.nonce, own->challenge.nonce, CR_NONCE_SIZE);
    assert_ok(cr_tls_export(raw->ssl, bound.exporter));
    assert_ok(cr_tls_own(raw->ssl, &peer));
    memcpy(bound.attester_key, peer.key, sizeof peer.key);
    assert_ok(cr_certificate_key_digest(SSL_get0_peer_certificate(raw->ssl), bound.verifier_key));
    cr_message_release(&challenge);
    raw_drop(raw, size);
    if (change) change(&bound);
    assert_ok(cr_binding_write(&bound, binding));
    assert_ok(cr_sha512(cr_buffer_slice(binding), report_data));
    assert_ok(cr_attester_attest(CR_ATTESTER_DEVELOPMENT, &cr_attester_places, report_data, &kind, evidence));
}

static void test_evidence_of_an_earlier_connection_and_evidence_twice(void **state)
{
    (void)state;
    struct raw raw;
    CR_CLEANUP(cr_buffer_release) struct cr_buffer binding = {0}, evidence = {0};
    struct cr_message own = {.type = CR_FRAME_CHALLENGE,
                             .challenge = {.version = CR_PROTOCOL_VERSION, .nonce = {7}}};
    listen_with(10);
    raw_connect(&raw);
    answer(&raw, &own, NULL, &binding, &evidence);
    raw_send(&raw, &own);
    raw_expect(&raw, CR_FRAME_EVIDENCE);
    struct cr_message shown = {.type = CR_FRAME_EVIDENCE,
                               .evidence.binding = cr_buffer_slice(&binding),
                               .body = cr_buffer_slice(&evidence)};
    raw_send(&raw, &shown);
    raw_expect(&raw, CR_FRAME_ADMITTED);
    raw_send(&raw, &(struct cr_message){.type = CR_FRAME_ADMITTED});
    until(&server.open);
    server.open = false; // as it has to be with those that are refused
    raw_send(&raw, &shown);
    raw_refused(&raw, CR_PROTOCOL, "a Evidence frame is not accepted here");
    raw_connect(&raw);
    raw_send(&raw, &own);
    raw_send(&raw, &shown);
    raw_expect(&raw, CR_FRAME_CHALLENGE);
    raw_expect(&raw, CR_FRAME_EVIDENCE);
    raw_refused(&raw, CR_DENIED, "its evidence answers another challenge (replayed)");
}

static void be_a_server(struct cr_binding *binding)
{
    memcpy(binding->role, "server", sizeof "server");
}

static void work_elsewhere(struct cr_binding *binding)
{
    binding->job[0] = 1;
}

static void be_on_another_connection(struct cr_binding *binding)
{
    binding->exporter[0] ^= 1;
}

// A program of the silo's, with its key, whose evidence is fresh and for something else.
static void test_evidence_that_was_made_for_something_else(void **state)
{
    (void)state;
    static const struct {
        void (*change)(struct cr_binding *binding);
        const char *why;
    } cases[] = {{be_a_server, "its evidence is of a server, and its certificate a silo's"},
                 {work_elsewhere, "its evidence is for another job"},
                 {be_on_another_connection, "its evidence is of another connection (relayed)"}};
    listen_with(10);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct raw raw;
        CR_CLEANUP(cr_buffer_release) struct cr_buffer binding = {0}, evidence = {0};
        struct cr_message own = {.type = CR_FRAME_CHALLENGE, .challenge = {.version = CR_PROTOCOL_VERSION}};
        raw_connect(&raw);
        answer(&raw, &own, cases[i].change, &binding, &evidence);
        raw_send(&raw, &own);
        raw_send(&raw, &(struct cr_message){.type = CR_FRAME_EVIDENCE,
                                            .evidence.binding = cr_buffer_slice(&binding),
                                            .body = cr_buffer_slice(&evidence)});
        raw_expect(&raw, CR_FRAME_EVIDENCE);
        raw_refused(&raw, CR_DENIED, cases[i].why);
    }
}

static void test_evidence_that_is_sent_back(void **state)
{
    (void)state;
    struct raw raw;
    enum cr_frame_type type = 0;
    struct cr_message own = {.type = CR_FRAME_CHALLENGE, .challenge = {.version = CR_PROTOCOL_VERSION}};
    listen_with(10);
    raw_connect(&raw);
    raw_expect(&raw, CR_FRAME_CHALLENGE);
    raw_send(&raw, &own);
    size_t size = raw_frame(&raw, &type);
    assert_int_equal(type, CR_FRAME_EVIDENCE);
    assert_int_equal(SSL_write(raw.ssl, raw.in, (int)size), (int)size);
    raw_drop(&raw, size);
    raw_refused(&raw, CR_DENIED, "it sent this end's own evidence back (reflected)");
}

static void test_nonces_of_another_length(void **state)
{
    (void)state;
    static const unsigned char sizes[] = {0, 31, 33};
    listen_with(10);
    for (size_t i = 0; i < sizeof sizes; i++) {
        struct raw raw;
        unsigned char frame[CR_FRAME_START_SIZE + 4 + 33] = {0};
        const unsigned char header[] = {0x08, CR_PROTOCOL_VERSION, 0x12, sizes[i]}; // version, nonce
        size_t size = sizeof header + sizes[i];
        assert_ok(cr_frame_start(CR_FRAME_CHALLENGE, size, 0, frame));
        memcpy(frame + CR_FRAME_START_SIZE, header, sizeof header);
        raw_connect(&raw);
        raw_expect(&raw, CR_FRAME_CHALLENGE);
        size += CR_FRAME_START_SIZE;
        assert_int_equal(SSL_write(raw.ssl, frame, (int)size), (int)size);
        raw_refused(&raw, CR_PROTOCOL, "a Challenge message with a wrong nonce");
    }
}

// A man in the middle with certificates of his own, good ones: to the silo he is a server, to the server a
// silo. He reads all and passes every byte on.
static void test_a_relay(void **state)
{
    (void)state;
    struct cr_identity *false_server, *false_silo;
    struct cr_tls *to_silo, *to_server;
    struct raw here, there;
    make_member(authority, "server", "server", &false_server);
    make_member(authority, "mallory", "silo", &false_silo);
    assert_ok(cr_tls_new_server(false_server, &to_silo));
    assert_ok(cr_tls_new_member(false_silo, &to_server));
    listen_with(10);
    char address[64];
    int door = listen_plainly(address);
    assert_ok(cr_connection_open(loop, client_tls, address, 10, &handler, &client, &client.connection));
    raw_open(&here, to_silo, accept(door, NULL, NULL));
    raw_open(&there, to_server, connect_to_server());
    raw_handshake(&here);
    raw_handshake(&there);
    double start = cr_clock_monotonic();
    while (!client.closed || !server.closed) {
        bool silo_there = raw_read(&here), server_there = raw_read(&there);
        if (here.size > 0) SSL_write(there.ssl, here.in, (int)here.size);
        if (there.size > 0) SSL_write(here.ssl, there.in, (int)there.size);
        here.size = there.size = 0;
        if (!silo_there) shutdown(there.fd, SHUT_WR);
        if (!server_there) shutdown(here.fd, SHUT_WR);
        assert_ok(cr_loop_step(loop, 0.01));
        assert_true(cr_clock_monotonic() - start < PATIENCE);
    }
    // Each was shown the other's evidence, fresh and genuine, by somebody else.
    assert_int_equal(looked[0] + looked[1] > 0, true);
    assert_int_equal(admitted[0] + admitted[1], 0);
    assert_false(server.open || client.open);
    assert_int_equal(client.status, CR_DENIED);
    assert_int_equal(server.status, CR_DENIED);
    assert_non_null(strstr(client.why, "is of another certificate's owner (relayed)"));
    raw_close(&here);
    raw_close(&there);
    close(door);
    cr_tls_free(to_silo);
    cr_tls_free(to_server);
    cr_identity_free(false_server);
    cr_identity_free(false_silo);
}

// What a server of ours that gave tickets and took early data would let a client keep.
static SSL_SESSION *session_with_ticket(void)
{
    struct cr_tls *generous_tls;
    struct raw ends[2];
    int pair[2];
    assert_ok(cr_tls_new_server(server_identity, &generous_tls));
    SSL_CTX *generous = cr_tls_context(generous_tls);
    SSL_CTX_clear_options(generous, SSL_OP_NO_TICKET);
    SSL_CTX_set_num_tickets(generous, 1);
    SSL_CTX_set_max_early_data(generous, 1024);
    SSL_CTX_set_session_id_context(generous, (const unsigned char *)"x", 1);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    raw_open(&ends[0], generous_tls, pair[0]);
    raw_open(&ends[1], client_tls, pair[1]);
    while (!SSL_is_init_finished(ends[0].ssl) || !SSL_is_init_finished(ends[1].ssl)) {
        SSL_do_handshake(ends[1].ssl);
        SSL_do_handshake(ends[0].ssl);
    }
    assert_int_equal(SSL_write(ends[0].ssl, "x", 1), 1);
    while (ends[1].size == 0) assert_true(raw_read(&ends[1]));
    SSL_SESSION *session = SSL_get1_session(ends[1].ssl);
    assert_true(SSL_SESSION_is_resumable(session));
    assert_true(SSL_SESSION_get_max_early_data(session) > 0);
    SSL_set_shutdown(ends[1].ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN); // or the session counts as bad
    raw_close(&ends[0]);
    raw_close(&ends[1]);
    cr_tls_free(generous_tls);
    return session;
}

static void test_nothing_is_resumed(void **state)
{
    (void)state;
    struct raw raw;
    listen_with(10);
    // What our own server leaves with a client cannot be resumed.
    raw_connect(&raw);
    raw_expect(&raw, CR_FRAME_CHALLENGE);
    SSL_SESSION *kept = SSL_get1_session(raw.ssl);
    assert_false(SSL_SESSION_is_resumable(kept));
    SSL_SESSION_free(kept);
    raw_close(&raw);
    until(&server.closed);
    cr_connection_free(server.connection);
    server = (struct end){0};

    // A ticket that is good elsewhere: the server knows nothing of it, and challenges as it does anybody.
    SSL_SESSION *session = session_with_ticket();
    raw_open(&raw, client_tls, connect_to_server());
    assert_int_equal(SSL_set_session(raw.ssl, session), 1);
    raw_handshake(&raw);
    assert_false(SSL_session_reused(raw.ssl));
    raw_expect(&raw, CR_FRAME_CHALLENGE);
    raw_close(&raw);
    until(&server.closed);
    cr_connection_free(server.connection);
    server = (struct end){0};
    SSL_SESSION_free(session);

    // With early data it does not go on at all.
    session = session_with_ticket();
    size_t written = 0;
    raw_open(&raw, client_tls, connect_to_server());
    assert_int_equal(SSL_set_session(raw.ssl, session), 1);
    assert_int_equal(SSL_write_early_data(raw.ssl, "early", 5, &written), 1);
    assert_int_equal(written, 5);
    raw_handshake(&raw);
    assert_int_equal(SSL_get_early_data_status(raw.ssl), SSL_EARLY_DATA_REJECTED);
    until(&server.closed);
    assert_int_equal(server.status, CR_PROTOCOL);
    assert_non_null(strstr(server.why, "too much early data"));
    assert_false(server.open);
    raw_close(&raw);
    SSL_SESSION_free(session);
}

static int set_up_group(void **state)
{
    static const char yaml[] = "allow_development: true\n";
    if (cr_appraisal_policy_parse(cr_slice_of_string(yaml), "policy", &lenient) != CR_OK) return -1;
    return set_up_all(state);
}

static int tear_down_group(void **state)
{
    cr_appraisal_policy_release(&lenient);
    return tear_down_all(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ATTESTED(test_both_are_admitted_before_they_open),
        ATTESTED(test_one_that_is_refused_hears_why),
        ATTESTED(test_a_silo_refuses_its_server),
        ATTESTED(test_a_silo_that_cannot_write_what_it_saw),
        ATTESTED(test_an_end_without_an_attester),
        ATTESTED(test_nothing_is_said_before),
        ATTESTED(test_one_that_shows_nothing),
        ATTESTED(test_evidence_of_an_earlier_connection_and_evidence_twice),
        ATTESTED(test_evidence_that_was_made_for_something_else),
        ATTESTED(test_evidence_that_is_sent_back),
        ATTESTED(test_nonces_of_another_length),
        ATTESTED(test_a_relay),
        ATTESTED(test_nothing_is_resumed),
    };
    return cmocka_run_group_tests(tests, set_up_group, tear_down_group);
}
