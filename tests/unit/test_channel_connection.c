// Both ends of a connection on one loop.
#include "channel_support.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <stdio.h>

static void test_members_know_each_other_and_close(void **state)
{
    (void)state;
    assert_ok(cr_tls_new_member(silo_identity, &client_tls));
    listen_with(10);
    open_client(10);
    until(&server.open);
    until(&client.open);
    assert_string_equal(server.peer.name, "st-anne");
    assert_string_equal(server.peer.role, "silo");
    assert_string_equal(client.peer.role, "server");
    struct cr_message hello = {.type = CR_FRAME_HELLO, .hello.version = 1};
    assert_ok(cr_connection_send(client.connection, &hello, NULL, NULL));
    cr_connection_close(client.connection);
    // Nothing follows a Close, and what it would have borrowed is given back at once.
    assert_ok(cr_connection_send(client.connection, &hello, count_release, chunk));
    assert_int_equal(released, 1);
    until(&server.closed);
    until(&client.closed);
    assert_int_equal(server.messages, 1);
    assert_int_equal(server.status, CR_OK);
    assert_int_equal(client.status, CR_OK);
}

static void connect_newcomer(void)
{
    unsigned char fingerprint[32];
    assert_ok(cr_identity_fingerprint(server_identity, fingerprint));
    assert_ok(cr_tls_new_enrol(fingerprint, &client_tls));
    listen_with(10);
    open_client(10);
    until(&server.open);
    until(&client.open);
}

static void test_newcomer_pins_the_authority(void **state)
{
    (void)state;
    connect_newcomer();
    assert_true(server.peer.anonymous);
    // Without a certificate only Enrol is taken.
    struct cr_message hello = {.type = CR_FRAME_HELLO, .hello.version = 1};
    assert_ok(cr_connection_send(client.connection, &hello, NULL, NULL));
    until(&client.closed);
    assert_int_equal(client.status, CR_PROTOCOL);
    assert_non_null(strstr(client.why, "Hello frame is not accepted"));
    assert_int_equal(server.messages, 0);
}

static void test_wrong_fingerprint(void **state)
{
    (void)state;
    unsigned char fingerprint[32] = {1, 2, 3};
    assert_ok(cr_tls_new_enrol(fingerprint, &client_tls));
    listen_with(10);
    open_client(10);
    until(&client.closed);
    assert_int_equal(client.status, CR_DENIED);
    assert_non_null(strstr(client.why, "its CA is another one"));
    until(&server.closed);
    assert_false(server.open);
}

static void test_member_of_another_federation(void **state)
{
    (void)state;
    struct cr_identity *other_authority, *other;
    assert_ok(cr_identity_new_authority("other", cr_clock_unix(), &other_authority));
    make_member(other_authority, "st-anne", "silo", &other);
    assert_ok(cr_tls_new_member(other, &client_tls));
    listen_with(10);
    open_client(10);
    until(&client.closed);
    assert_int_equal(client.status, CR_IO); // a member comes back: it may be of the moment
    assert_non_null(strstr(client.why, "its CA is another one"));
    assert_false(server.open);
    cr_identity_free(other);
    cr_identity_free(other_authority);
}

// A CA of the same name, whose server shows the true CA's certificate along with its own.
static void test_an_impostor_of_the_same_name(void **state)
{
    (void)state;
    struct cr_identity *false_authority, *false_server;
    assert_ok(cr_identity_new_authority("federation", cr_clock_unix(), &false_authority));
    make_member(false_authority, "server", "server", &false_server);
    for (int member = 0; member < 2; member++) {
        if (member) {
            tear_down(NULL);
            set_up(NULL);
        }
        cr_tls_free(server_tls);
        assert_ok(cr_tls_new_server(false_server, &server_tls));
        SSL_CTX *context = cr_tls_context(server_tls);
        assert_int_equal(SSL_CTX_add1_chain_cert(context, cr_identity_authority(server_identity)), 1);
        unsigned char fingerprint[32];
        assert_ok(cr_identity_fingerprint(server_identity, fingerprint));
        if (member)
            assert_ok(cr_tls_new_member(silo_identity, &client_tls));
        else
            assert_ok(cr_tls_new_enrol(fingerprint, &client_tls));
        listen_with(10);
        open_client(10);
        until(&client.closed);
        assert_int_equal(client.status, member ? CR_IO : CR_DENIED);
        assert_false(client.open || server.open);
    }
    cr_identity_free(false_server);
    cr_identity_free(false_authority);
}

static void test_expired_certificates(void **state)
{
    (void)state;
    enum { DAYS_800 = 800 * 86400 };
    struct cr_identity *old_authority, *old_server, *old_silo, *silo;
    assert_ok(cr_identity_new_authority("federation", cr_clock_unix() - DAYS_800, &old_authority));
    make_member_at(old_authority, "server", "server", cr_clock_unix() - DAYS_800, &old_server);
    make_member_at(old_authority, "st-anne", "silo", cr_clock_unix() - DAYS_800, &old_silo);
    make_member(old_authority, "st-anne", "silo", &silo);
    cr_tls_free(server_tls);
    assert_ok(cr_tls_new_server(old_server, &server_tls));
    assert_ok(cr_tls_new_member(silo, &client_tls));
    listen_with(10);
    open_client(10);
    until(&client.closed);
    assert_int_equal(client.status, CR_IO);
    assert_non_null(strstr(client.why, "certificate has expired (the clock here says 2"));

    tear_down(NULL);
    set_up(NULL);
    struct cr_identity *server_now;
    make_member(old_authority, "server", "server", &server_now);
    cr_tls_free(server_tls);
    assert_ok(cr_tls_new_server(server_now, &server_tls));
    assert_ok(cr_tls_new_member(old_silo, &client_tls));
    listen_with(10);
    open_client(10);
    until(&client.closed);
    assert_int_equal(client.status, CR_IO);
    assert_non_null(strstr(client.why, "expired"));
    assert_false(server.open);
    cr_identity_free(server_now);
    cr_identity_free(silo);
    cr_identity_free(old_silo);
    cr_identity_free(old_server);
    cr_identity_free(old_authority);
}

static void test_a_silo_is_no_server(void **state)
{
    (void)state;
    cr_tls_free(server_tls);
    assert_ok(cr_tls_new_server(silo_identity, &server_tls));
    assert_ok(cr_tls_new_member(silo_identity, &client_tls));
    listen_with(10);
    open_client(10);
    until(&client.closed);
    assert_int_equal(client.status, CR_IO);
}

static void connect_members(double timeout)
{
    assert_ok(cr_tls_new_member(silo_identity, &client_tls));
    listen_with(timeout);
    open_client(timeout);
    until(&server.open);
    until(&client.open);
}

static void test_failure_is_told_to_the_peer(void **state)
{
    (void)state;
    connect_members(10);
    server.answer = CR_DENIED;
    struct cr_message hello = {.type = CR_FRAME_HELLO, .hello.version = 1};
    assert_ok(cr_connection_send(client.connection, &hello, NULL, NULL));
    until(&client.closed);
    until(&server.closed);
    assert_int_equal(client.status, CR_DENIED);
    assert_string_equal(client.why, "the server refused: that will not do");
    assert_int_equal(server.status, CR_DENIED);
    assert_string_equal(server.why, "that will not do");
}

static void test_a_reason_is_a_text_whatever_it_was(void **state)
{
    (void)state;
    static const struct {
        const char *said, *heard;
    } reasons[] = {{"a\nb\x1b[2J", "a?b?[2J"},
                   {"na\xc3\xafve \xc2\x9b", "na\xc3\xafve ?"},
                   {"cut, na\xc3\xafvely \xc3", "cut, na\xc3\xafvely ?"}};
    for (size_t i = 0; i < sizeof reasons / sizeof *reasons; i++) {
        if (i > 0) {
            tear_down(NULL);
            set_up(NULL);
        }
        connect_members(10);
        cr_connection_refuse(server.connection, CR_DENIED, reasons[i].said);
        until(&client.closed);
        assert_int_equal(client.status, CR_DENIED);
        assert_string_equal(client.why + strlen("the server refused: "), reasons[i].heard);
    }
}

// Anyone may connect: what fails at the server names its files, and is for its own log.
static void test_a_stranger_is_told_no_failure_of_the_server(void **state)
{
    (void)state;
    static const char own[] = "/srv/carrel/x.json: Permission denied", theirs[] = "the token expired";
    for (int is_own = 0; is_own < 2; is_own++) {
        if (is_own) {
            tear_down(NULL);
            set_up(NULL);
        }
        connect_newcomer();
        cr_connection_refuse(server.connection, is_own ? CR_IO : CR_DENIED, is_own ? own : theirs);
        until(&client.closed);
        until(&server.closed);
        assert_int_equal(client.status, is_own ? CR_IO : CR_DENIED);
        assert_string_equal(client.why + strlen("the server refused: "),
                            is_own ? "a file or a connection failed (its own log says why)" : theirs);
        assert_string_equal(server.why, is_own ? own : theirs);
    }
}

static void test_cut_is_no_close(void **state)
{
    (void)state;
    connect_members(10);
    cr_connection_free(client.connection);
    client.connection = NULL;
    until(&server.closed);
    assert_int_equal(server.status, CR_IO);
    assert_non_null(strstr(server.why, "cut"));
}

static void test_queue_is_bounded(void **state)
{
    (void)state;
    connect_members(10);
    enum { PULLS = 40 };
    server.pulls_to_answer = PULLS;
    for (uint64_t i = 0; i < PULLS; i++) {
        struct cr_message pull = {.type = CR_FRAME_PULL, .pull = {.round = 1, .first = i, .count = 1}};
        assert_ok(cr_connection_send(client.connection, &pull, NULL, NULL));
    }
    size_t most = 0;
    double start = cr_clock_monotonic();
    while (client.messages < PULLS) {
        size_t answered = PULLS - server.pulls_to_answer;
        if (answered - released > most) most = answered - released;
        assert_ok(cr_loop_step(loop, 0.05));
        assert_true(cr_clock_monotonic() - start < PATIENCE);
    }
    assert_int_equal(client.body_bytes, PULLS * sizeof chunk);
    assert_int_equal(released, PULLS);
    assert_in_range(most, 0, 3); // 2 MiB and the one that goes over
}

// As a silo asks: a few at a time, each answer being more than what stops the other end's reading.
static void test_asking_goes_on_at_once(void **state)
{
    (void)state;
    connect_members(10);
    enum { PULLS = 200, AHEAD = 3 };
    server.pulls_to_answer = PULLS;
    size_t asked = 0, idle = 0;
    while (client.messages < PULLS) {
        for (; asked < PULLS && asked < client.messages + AHEAD; asked++) {
            struct cr_message pull = {.type = CR_FRAME_PULL,
                                      .pull = {.round = 1, .first = asked, .count = 1}};
            assert_ok(cr_connection_send(client.connection, &pull, NULL, NULL));
        }
        size_t before = client.messages + server.messages;
        double start = cr_clock_monotonic();
        assert_ok(cr_loop_step(loop, 0.05));
        // Both ends are on this loop: half a second with nothing to do is a wait for the next Beat.
        if (client.messages + server.messages > before)
            idle = 0;
        else
            idle += cr_clock_monotonic() - start >= 0.05;
        assert_in_range(idle, 0, 10);
    }
    assert_int_equal(released, PULLS);
}

static void test_silence_is_a_timeout_and_beats_are_no_silence(void **state)
{
    (void)state;
    connect_members(2);
    double start = cr_clock_monotonic();
    while (cr_clock_monotonic() - start < 3) assert_ok(cr_loop_step(loop, 0.05));
    assert_false(server.closed);
    assert_false(client.closed);
    assert_int_equal(server.messages + client.messages, 0);
}

static void test_a_stranger_does_not_stay(void **state)
{
    (void)state;
    unsigned char fingerprint[32];
    assert_ok(cr_identity_fingerprint(server_identity, fingerprint));
    assert_ok(cr_tls_new_enrol(fingerprint, &client_tls));
    listen_with(2);
    open_client(10);
    until(&server.open);
    until(&server.closed); // for all its beats
    assert_int_equal(server.status, CR_TIMEOUT);
    until(&client.closed);
    assert_int_equal(client.status, CR_IO);
}

static void test_a_peer_that_says_nothing(void **state)
{
    (void)state;
    assert_ok(cr_tls_new_member(silo_identity, &client_tls));
    char address[64];
    int fd = listen_plainly(address);
    assert_ok(cr_connection_open(loop, client_tls, address, 1, &handler, &client, &client.connection));
    until(&client.closed);
    assert_int_equal(client.status, CR_TIMEOUT);
    close(fd);
}

struct stranger {
    int fd;
    void (*act)(SSL *ssl); // once it is connected
    bool connected;
};

static void *be_a_stranger(void *context)
{
    struct stranger *stranger = context;
    SSL_CTX *tls = SSL_CTX_new(TLS_client_method());
    SSL *ssl = SSL_new(tls);
    stranger->connected = SSL_set_fd(ssl, stranger->fd) == 1 && SSL_connect(ssl) == 1;
    if (stranger->connected) stranger->act(ssl);
    ERR_clear_error();
    SSL_free(ssl);
    SSL_CTX_free(tls);
    return NULL;
}

// A server to which a stranger does that, until it has closed the connection.
static void meet_a_stranger(void (*act)(SSL *ssl))
{
    listen_with(10);
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)cr_listener_port(listener)),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct stranger stranger = {.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), .act = act};
    assert_int_equal(connect(stranger.fd, (const struct sockaddr *)&address, sizeof address), 0);
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, be_a_stranger, &stranger), 0);
    until(&server.closed);
    cr_connection_free(server.connection);
    server.connection = NULL;
    pthread_join(thread, NULL);
    assert_true(stranger.connected);
    close(stranger.fd);
}

// As far as it gets.
static void change_keys_for_ever(SSL *ssl)
{
    while (SSL_key_update(ssl, SSL_KEY_UPDATE_NOT_REQUESTED) == 1 && SSL_do_handshake(ssl) == 1) continue;
}

static void test_new_keys_without_end(void **state)
{
    (void)state;
    meet_a_stranger(change_keys_for_ever);
    assert_int_equal(server.status, CR_PROTOCOL);
    assert_non_null(strstr(server.why, "it changes its keys"));
}

static void send_what_is_no_record(SSL *ssl)
{
    static const unsigned char record[5 + 32] = {23, 3, 3, 0, 32};
    assert_int_equal(write(SSL_get_fd(ssl), record, sizeof record), sizeof record);
}

static void test_bytes_that_were_changed_on_their_way(void **state)
{
    (void)state;
    meet_a_stranger(send_what_is_no_record);
    assert_int_equal(server.status, CR_IO);
    assert_non_null(strstr(server.why, "what was sent was changed on its way"));
}

static void test_nobody_listens(void **state)
{
    (void)state;
    assert_ok(cr_tls_new_member(silo_identity, &client_tls));
    listen_with(10);
    char address[64];
    snprintf(address, sizeof address, "127.0.0.1:%u", cr_listener_port(listener));
    cr_listener_free(listener);
    listener = NULL;
    assert_ok(cr_connection_open(loop, client_tls, address, 10, &handler, &client, &client.connection));
    until(&client.closed);
    assert_int_equal(client.status, CR_IO);
    assert_non_null(strstr(client.why, "refused"));
}

// A load balancer without its server behind it.
static void *say_unavailable(void *listening)
{
    static const char answer[] = "HTTP/1.0 503 Service Unavailable\r\n\r\n";
    int fd = accept(*(int *)listening, NULL, NULL);
    assert_int_equal(write(fd, answer, sizeof answer - 1), sizeof answer - 1);
    close(fd);
    return NULL;
}

static void test_something_else_answers(void **state)
{
    (void)state;
    unsigned char fingerprint[32];
    assert_ok(cr_identity_fingerprint(server_identity, fingerprint));
    for (int member = 0; member < 2; member++) {
        if (member) {
            tear_down(NULL);
            set_up(NULL);
        }
        assert_ok(member ? cr_tls_new_member(silo_identity, &client_tls)
                         : cr_tls_new_enrol(fingerprint, &client_tls));
        struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        socklen_t size = sizeof at;
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        assert_int_equal(bind(fd, (const struct sockaddr *)&at, size), 0);
        assert_int_equal(listen(fd, 1), 0);
        assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &size), 0);
        pthread_t thread;
        assert_int_equal(pthread_create(&thread, NULL, say_unavailable, &fd), 0);
        char address[64];
        snprintf(address, sizeof address, "127.0.0.1:%u", ntohs(at.sin_port));
        assert_ok(cr_connection_open(loop, client_tls, address, 10, &handler, &client, &client.connection));
        until(&client.closed);
        assert_int_equal(client.status, member ? CR_IO : CR_PROTOCOL);
        assert_non_null(strstr(client.why, "wrong version number"));
        pthread_join(thread, NULL);
        close(fd);
    }
}

// Takes connections until its queue is full, and then is silent: a firewall that drops what comes. Returns
// how many sockets.
static size_t be_silent(unsigned port, int fds[], size_t most)
{
    struct sockaddr_in6 at = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    at.sin6_port = htons((uint16_t)port);
    int on = 1;
    fds[0] = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    setsockopt(fds[0], IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
    if (fds[0] < 0 || bind(fds[0], (const struct sockaddr *)&at, sizeof at) != 0 || listen(fds[0], 0) != 0)
        return 1;
    for (size_t i = 1; i < most; i++) {
        fds[i] = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        (void)!connect(fds[i], (const struct sockaddr *)&at, sizeof at);
    }
    return most;
}

static struct addrinfo *new_address(const void *address, socklen_t size)
{
    struct addrinfo *info = calloc(1, sizeof *info + size); // in one piece, as freeaddrinfo takes it
    assert_non_null(info);
    info->ai_family = size == sizeof(struct sockaddr_in) ? AF_INET : AF_INET6;
    info->ai_socktype = SOCK_STREAM;
    info->ai_addrlen = size;
    info->ai_addr = (struct sockaddr *)(info + 1);
    memcpy(info->ai_addr, address, size);
    return info;
}

// In the place of the C library's: 127.0.0.1, and two names that are another as well, and that first: ::1, or
// one to which nothing can connect.
int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **found)
{
    (void)hints;
    in_port_t port = htons((uint16_t)atoi(service));
    struct sockaddr_in four = {.sin_family = AF_INET, .sin_port = port};
    struct sockaddr_in6 six = {
        .sin6_family = AF_INET6, .sin6_port = port, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    four.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    *found = new_address(&four, sizeof four);
    if (!strstr(node, ".example")) return 0;
    struct sockaddr_in none = four;
    none.sin_addr.s_addr = htonl(INADDR_BROADCAST);
    struct addrinfo *first =
        strcmp(node, "two.example") == 0 ? new_address(&six, sizeof six) : new_address(&none, sizeof none);
    first->ai_next = *found;
    *found = first;
    return 0;
}

static void test_an_address_that_does_not_answer(void **state)
{
    (void)state;
    enum { SOCKETS = 4 };
    int fds[SOCKETS];
    assert_ok(cr_tls_new_member(silo_identity, &client_tls));
    listen_with(10);
    size_t count = be_silent(cr_listener_port(listener), fds, SOCKETS);
    if (count < SOCKETS) skip(); // no IPv6
    char address[64];
    snprintf(address, sizeof address, "two.example:%u", cr_listener_port(listener));
    double since = cr_clock_monotonic();
    assert_ok(cr_connection_open(loop, client_tls, address, 1, &handler, &client, &client.connection));
    until(&client.open);
    assert_true(cr_clock_monotonic() - since > 0.9); // the first one did have its second
    for (size_t i = 0; i < count; i++) close(fds[i]);
}

static void test_an_address_that_cannot_be_one(void **state)
{
    (void)state;
    char address[64];
    assert_ok(cr_tls_new_member(silo_identity, &client_tls));
    listen_with(10);
    snprintf(address, sizeof address, "none.example:%u", cr_listener_port(listener));
    assert_ok(cr_connection_open(loop, client_tls, address, 10, &handler, &client, &client.connection));
    until(&client.open);
}

// Whose process stands still: its socket stays open.
static void test_a_peer_that_falls_silent(void **state)
{
    (void)state;
    struct cr_loop *own = loop, *other;
    assert_ok(cr_loop_new(&other));
    assert_ok(cr_tls_new_member(silo_identity, &client_tls));
    listen_with(1);
    loop = other;
    open_client(10);
    loop = own;
    while (!client.open || !server.open) {
        assert_ok(cr_loop_step(own, 0.01));
        assert_ok(cr_loop_step(other, 0.01));
    }
    double since = cr_clock_monotonic();
    until(&server.closed);
    assert_int_equal(server.status, CR_TIMEOUT);
    assert_non_null(strstr(server.why, "no sign of life for 1 seconds"));
    assert_true(cr_clock_monotonic() - since > 0.9);
    cr_connection_free(client.connection);
    client.connection = NULL;
    cr_loop_free(other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_LOOP(test_members_know_each_other_and_close),
        WITH_LOOP(test_newcomer_pins_the_authority),
        WITH_LOOP(test_wrong_fingerprint),
        WITH_LOOP(test_member_of_another_federation),
        WITH_LOOP(test_an_impostor_of_the_same_name),
        WITH_LOOP(test_expired_certificates),
        WITH_LOOP(test_a_silo_is_no_server),
        WITH_LOOP(test_failure_is_told_to_the_peer),
        WITH_LOOP(test_a_reason_is_a_text_whatever_it_was),
        WITH_LOOP(test_a_stranger_is_told_no_failure_of_the_server),
        WITH_LOOP(test_cut_is_no_close),
        WITH_LOOP(test_queue_is_bounded),
        WITH_LOOP(test_asking_goes_on_at_once),
        WITH_LOOP(test_silence_is_a_timeout_and_beats_are_no_silence),
        WITH_LOOP(test_a_stranger_does_not_stay),
        WITH_LOOP(test_a_peer_that_says_nothing),
        WITH_LOOP(test_new_keys_without_end),
        WITH_LOOP(test_bytes_that_were_changed_on_their_way),
        WITH_LOOP(test_nobody_listens),
        WITH_LOOP(test_something_else_answers),
        WITH_LOOP(test_an_address_that_does_not_answer),
        WITH_LOOP(test_an_address_that_cannot_be_one),
        WITH_LOOP(test_a_peer_that_falls_silent),
    };
    return cmocka_run_group_tests(tests, set_up_all, tear_down_all);
}
