// Both ends of a connection on one loop: a server that listens and a client, each a member of one federation.
#ifndef CARREL_TESTS_CHANNEL_SUPPORT_H
#define CARREL_TESTS_CHANNEL_SUPPORT_H

#include "support.h"

#include "base/clock.h"
#include "channel/listener.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>

struct end {
    struct cr_connection *connection;
    bool open, closed;
    enum cr_status status;
    char why[2048];
    struct cr_peer peer;
    size_t messages, body_bytes;
    enum cr_frame_type last;
    enum cr_status answer; // of received
    uint64_t pulls_to_answer;
};

static struct cr_loop *loop;
static struct cr_identity *authority, *server_identity, *silo_identity;
static struct end server, client;
static float chunk[CR_FRAME_BODY_LIMIT / 4];
static size_t released;

static inline void make_member_at(const struct cr_identity *ca, const char *name, const char *role,
                                  int64_t now, struct cr_identity **out)
{
    CR_CLEANUP(cr_buffer_release) struct cr_buffer request = {0};
    CR_CLEANUP(cr_buffer_release) struct cr_buffer certificate = {0};
    CR_CLEANUP(cr_buffer_release) struct cr_buffer ca_der = {0};
    assert_ok(cr_identity_new(out));
    assert_ok(cr_identity_request(*out, &request));
    assert_ok(cr_identity_issue(ca, cr_buffer_slice(&request), name, role, now, &certificate));
    assert_ok(cr_identity_authority_der(ca, &ca_der));
    assert_ok(cr_identity_install(*out, cr_buffer_slice(&certificate), cr_buffer_slice(&ca_der)));
}

static inline void make_member(const struct cr_identity *ca, const char *name, const char *role,
                               struct cr_identity **out)
{
    make_member_at(ca, name, role, cr_clock_unix(), out);
}

static inline void count_release(void *owner)
{
    assert_ptr_equal(owner, chunk);
    released++;
}

static inline enum cr_status on_opened(void *context, struct cr_connection *connection)
{
    struct end *end = context;
    end->open = true;
    end->peer = *cr_connection_peer(connection);
    return CR_OK;
}

static inline enum cr_status on_received(void *context, struct cr_connection *connection,
                                         const struct cr_message *message)
{
    struct end *end = context;
    end->messages++;
    end->body_bytes += message->body.size;
    end->last = message->type;
    if (message->type == CR_FRAME_PULL && end->pulls_to_answer > 0) {
        end->pulls_to_answer--;
        struct cr_message values = {.type = CR_FRAME_VALUES,
                                    .values = {.round = 1, .first = message->pull.first},
                                    .body = {(const unsigned char *)chunk, sizeof chunk}};
        return cr_connection_send(connection, &values, count_release, chunk);
    }
    if (end->answer != CR_OK) return cr_fail(end->answer, "that will not do");
    return CR_OK;
}

static inline void on_closed(void *context, struct cr_connection *connection, enum cr_status status,
                             const char *why)
{
    struct end *end = context;
    assert_false(end->closed);
    end->closed = true;
    end->status = status;
    snprintf(end->why, sizeof end->why, "%s", why);
    (void)connection;
}

static const struct cr_connection_handler handler = {on_opened, on_received, on_closed};

static inline void *on_accepted(void *context, struct cr_connection *connection)
{
    (void)context;
    server.connection = connection;
    return &server;
}

static struct cr_tls *server_tls, *client_tls;
static struct cr_listener *listener;

static inline void listen_with(double timeout)
{
    assert_ok(
        cr_listener_new(loop, server_tls, "127.0.0.1:0", timeout, on_accepted, &handler, NULL, &listener));
}

static inline void open_client(double timeout)
{
    char address[64];
    snprintf(address, sizeof address, "127.0.0.1:%u", cr_listener_port(listener));
    assert_ok(cr_connection_open(loop, client_tls, address, timeout, &handler, &client, &client.connection));
}

static inline void until(const bool *done)
{
    double start = cr_clock_monotonic();
    while (!*done) {
        assert_ok(cr_loop_step(loop, 0.05));
        assert_true(cr_clock_monotonic() - start < 10);
    }
}

static inline int set_up(void **state)
{
    (void)state;
    server = client = (struct end){0};
    released = 0;
    server_tls = client_tls = NULL;
    listener = NULL;
    assert_ok(cr_loop_new(&loop));
    assert_ok(cr_tls_new_server(server_identity, &server_tls));
    return 0;
}

static inline int tear_down(void **state)
{
    (void)state;
    cr_connection_free(client.connection);
    cr_connection_free(server.connection);
    cr_listener_free(listener);
    cr_tls_free(server_tls);
    cr_tls_free(client_tls);
    cr_loop_free(loop);
    return 0;
}

static inline int set_up_all(void **state)
{
    (void)state;
    assert_ok(cr_identity_new_authority("federation", cr_clock_unix(), &authority));
    make_member(authority, "server", "server", &server_identity);
    make_member(authority, "st-anne", "silo", &silo_identity);
    return 0;
}

static inline int tear_down_all(void **state)
{
    (void)state;
    cr_identity_free(silo_identity);
    cr_identity_free(server_identity);
    cr_identity_free(authority);
    return 0;
}

#define WITH_LOOP(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

// A socket that listens without a word of TLS; its address.
static inline int listen_plainly(char address[64])
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in any = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof any;
    assert_int_equal(bind(fd, (struct sockaddr *)&any, sizeof any), 0);
    assert_int_equal(listen(fd, 1), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&any, &size), 0);
    snprintf(address, 64, "127.0.0.1:%u", ntohs(any.sin_port));
    return fd;
}

#endif
