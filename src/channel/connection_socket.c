// How a connection is made: from a socket that connects or was accepted, with TLS and events.
#include "channel/connection_parts.h"

#include "base/clock.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static const double tick_seconds = 0.5;

void cr_connection_drop_socket(struct cr_connection *c)
{
    if (c->readable) event_free(c->readable);
    if (c->writable) event_free(c->writable);
    c->readable = c->writable = NULL;
    c->read_wanted = c->write_wanted = false;
    SSL_free(c->ssl);
    c->ssl = NULL;
    if (c->fd >= 0) close(c->fd);
    c->fd = -1;
}

void cr_connection_destroy(struct cr_connection *c)
{
    cr_connection_drop_socket(c);
    if (c->tick) event_free(c->tick);
    if (c->addresses) freeaddrinfo(c->addresses);
    cr_queue_drop(&c->queue);
    cr_challenge_free(c->challenge); // after the queue, whose messages may point into it
    cr_frame_reader_release(&c->reader);
    free(c);
}

static enum cr_status adopt(struct cr_connection *c, int fd, enum cr_connection_phase phase)
{
    struct event_base *base = cr_loop_base(c->loop);
    int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    c->fd = fd;
    c->phase = phase;
    c->phase_since = cr_clock_monotonic();
    c->ssl = SSL_new(cr_tls_context(c->tls));
    c->readable = event_new(base, fd, EV_READ | EV_PERSIST, cr_connection_on_event, c);
    c->writable = event_new(base, fd, EV_WRITE | EV_PERSIST, cr_connection_on_event, c);
    if (!c->ssl || !c->readable || !c->writable || SSL_set_fd(c->ssl, fd) != 1) {
        ERR_clear_error();
        return cr_fail(CR_NO_MEMORY, "%s: the connection cannot be set up", c->label);
    }
    SSL_set_msg_callback(c->ssl, cr_connection_on_tls_message);
    SSL_set_msg_callback_arg(c->ssl, c);
    if (cr_tls_is_server(c->tls))
        SSL_set_accept_state(c->ssl);
    else
        SSL_set_connect_state(c->ssl);
    cr_connection_want_events(c);
    return CR_OK;
}

static enum cr_status connect_next(struct cr_connection *c)
{
    for (;; c->address = c->address->ai_next) {
        const struct addrinfo *to = c->address;
        int fd = socket(to->ai_family, to->ai_socktype | SOCK_NONBLOCK | SOCK_CLOEXEC, to->ai_protocol);
        if (fd >= 0 && (connect(fd, to->ai_addr, to->ai_addrlen) == 0 || errno == EINPROGRESS))
            return adopt(c, fd, CR_PHASE_CONNECTING);
        enum cr_status status = cr_fail_errno(CR_IO, "%s", c->label);
        if (fd >= 0) close(fd);
        if (!to->ai_next) return status;
    }
}

void cr_connection_try_next(struct cr_connection *c, enum cr_status status)
{
    c->address = c->address->ai_next;
    if (c->address) {
        cr_connection_drop_socket(c);
        status = connect_next(c);
    }
    if (status != CR_OK) cr_connection_end_with(c, status, cr_error_message());
}

void cr_connection_finish_connect(struct cr_connection *c)
{
    int error = 0;
    socklen_t size = sizeof error;
    getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &size);
    if (error == 0) {
        c->phase = CR_PHASE_HANDSHAKE;
        c->phase_since = cr_clock_monotonic();
        return;
    }
    errno = error;
    cr_connection_try_next(c, cr_fail_errno(CR_IO, "%s", c->label));
}

static enum cr_status new_connection(struct cr_loop *loop, struct cr_tls *tls, double timeout,
                                     const struct cr_connection_handler *handler, void *context,
                                     struct cr_connection **out)
{
    struct cr_connection *c;
    CR_TRY(cr_allocate(1, sizeof *c, &c));
    c->fd = -1;
    c->loop = loop;
    c->tls = tls;
    c->handler = handler;
    c->context = context;
    c->timeout = timeout;
    c->tick = event_new(cr_loop_base(loop), -1, EV_PERSIST, cr_connection_on_tick, c);
    struct timeval every = {.tv_sec = 0, .tv_usec = (suseconds_t)(tick_seconds * 1e6)};
    if (!c->tick || event_add(c->tick, &every) != 0) {
        cr_connection_destroy(c);
        return cr_fail(CR_NO_MEMORY, "a connection cannot be set up");
    }
    *out = c;
    return CR_OK;
}

enum cr_status cr_connection_open(struct cr_loop *loop, struct cr_tls *tls, const char *text, double timeout,
                                  const struct cr_connection_handler *handler, void *context,
                                  struct cr_connection **out)
{
    struct cr_address address;
    CR_TRY(cr_address_parse(text, &address));
    struct cr_connection *c;
    CR_TRY(new_connection(loop, tls, timeout, handler, context, &c));
    snprintf(c->label, sizeof c->label, "%s", text);
    int error = cr_address_resolve(&address, false, &c->addresses);
    enum cr_status status = CR_OK;
    if (error != 0) status = cr_fail(CR_IO, "%s: %s", text, gai_strerror(error));
    c->address = c->addresses;
    if (status == CR_OK) status = connect_next(c);
    if (status != CR_OK) {
        cr_connection_destroy(c);
        return status;
    }
    *out = c;
    return CR_OK;
}

enum cr_status cr_connection_accept(struct cr_loop *loop, struct cr_tls *tls, int fd, double timeout,
                                    const struct cr_connection_handler *handler, struct cr_connection **out)
{
    struct cr_connection *c;
    enum cr_status status = new_connection(loop, tls, timeout, handler, NULL, &c);
    if (status != CR_OK) {
        close(fd);
        return status;
    }
    struct sockaddr_storage from;
    socklen_t size = sizeof from;
    struct cr_address address = {.host = "?"};
    char port[8] = "0";
    if (getpeername(fd, (struct sockaddr *)&from, &size) == 0)
        getnameinfo((struct sockaddr *)&from, size, address.host, sizeof address.host, port, sizeof port,
                    NI_NUMERICHOST | NI_NUMERICSERV);
    address.port = (unsigned)strtoul(port, NULL, 10);
    cr_address_format(&address, c->label);
    status = adopt(c, fd, CR_PHASE_HANDSHAKE);
    if (status != CR_OK) {
        cr_connection_destroy(c);
        return status;
    }
    *out = c;
    return CR_OK;
}
