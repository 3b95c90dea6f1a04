// A connection of hostile_peer.c's: TLS as members of a federation have it, and frames over that, one after
// the other and in no order but the caller's. Whatever is wrong with this end ends the program.
#ifndef CARREL_TESTS_HOSTILE_LINE_H
#define CARREL_TESTS_HOSTILE_LINE_H

#include "base/address.h"
#include "channel/message.h"
#include "channel/tls.h"

#include <arpa/inet.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { NONCE = 7 }; // each byte of the nonce of this end, on all its connections

struct line {
    SSL *ssl;
    int fd;
    bool told;               // what comes is printed: this is the connection that is attacked
    struct cr_binding bound; // what right evidence of this end is bound to; `challenge` once the peer sent it
    struct cr_frame_reader reader;
    bool holds; // the next: what came last
    struct cr_message message;
};

static inline void must(enum cr_status status)
{
    if (status == CR_OK) return;
    fprintf(stderr, "hostile_peer: %s\n", cr_error_message());
    exit(1);
}

static inline void must_be(bool good, const char *what)
{
    if (!good) must(cr_fail(CR_INTERNAL, "%s", what));
}

static inline struct sockaddr_in loopback(const char *address)
{
    struct cr_address at;
    must(cr_address_parse(address, &at));
    return (struct sockaddr_in){.sin_family = AF_INET,
                                .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                                .sin_port = htons((uint16_t)at.port)};
}

static inline int connect_to(const char *address)
{
    const struct sockaddr_in to = loopback(address);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    must_be(connect(fd, (const struct sockaddr *)&to, sizeof to) == 0, "nobody listens there");
    return fd;
}

// Prints the port.
static inline int listen_here(void)
{
    struct sockaddr_in any = loopback("127.0.0.1:0");
    socklen_t size = sizeof any;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    must_be(bind(fd, (struct sockaddr *)&any, size) == 0 && listen(fd, 4) == 0 &&
                getsockname(fd, (struct sockaddr *)&any, &size) == 0,
            "no port to listen on");
    printf("port %u\n", ntohs(any.sin_port));
    return fd;
}

// Before the handshake, so that the caller can change what is about to be said.
static inline void line_start(struct line *line, struct cr_tls *tls, int fd)
{
    *line = (struct line){.ssl = SSL_new(cr_tls_context(tls)), .fd = fd};
    must_be(line->ssl && SSL_set_fd(line->ssl, fd) == 1, "no connection");
    cr_tls_is_server(tls) ? SSL_set_accept_state(line->ssl) : SSL_set_connect_state(line->ssl);
}

static inline void line_handshake(struct line *line)
{
    must_be(SSL_do_handshake(line->ssl) == 1, "no handshake");
}

// Fills in what right evidence of this end is bound to.
static inline void line_bind(struct line *line, const unsigned char job[CR_SHA256_SIZE])
{
    struct cr_peer own;
    must(cr_tls_own(line->ssl, &own));
    memcpy(line->bound.role, own.role, CR_NAME_SIZE);
    memset(line->bound.nonce, NONCE, CR_NONCE_SIZE);
    must(cr_tls_export(line->ssl, line->bound.exporter));
    memcpy(line->bound.attester_key, own.key, CR_SHA256_SIZE);
    must(cr_certificate_key_digest(SSL_get0_peer_certificate(line->ssl), line->bound.verifier_key));
    memcpy(line->bound.job, job, CR_SHA256_SIZE);
}

static inline void line_write(struct line *line, const void *bytes, size_t size)
{
    // A peer that is gone is heard of when the next message is waited for.
    for (size_t at = 0; at < size;) {
        int put = SSL_write(line->ssl, (const char *)bytes + at, (int)(size - at));
        if (put <= 0) return;
        at += (size_t)put;
    }
}

static inline void line_say(struct line *line, const struct cr_message *message)
{
    static const unsigned char start[CR_FRAME_START_SIZE];
    CR_CLEANUP(cr_buffer_release) struct cr_buffer frame = {0};
    must(cr_append(&frame, start, sizeof start));
    must(cr_message_encode(message, &frame));
    must(cr_frame_start(message->type, frame.size - sizeof start, message->body.size, frame.data));
    must(cr_append(&frame, message->body.data, message->body.size));
    line_write(line, frame.data, frame.size);
}

static inline void line_say_only(struct line *line, enum cr_frame_type type)
{
    line_say(line, &(struct cr_message){.type = type});
}

static inline void line_tell(const struct line *line)
{
    if (!line->told) return;
    printf("got %s\n", cr_frame_name(line->message.type));
    if (line->message.type == CR_FRAME_REFUSED) printf("refused %s\n", line->message.refused.reason);
}

// The next message, signs of life left out, is line->message until the next call. False: the peer has ended.
static inline bool line_next(struct line *line)
{
    for (;;) {
        if (line->holds) {
            cr_message_release(&line->message);
            cr_frame_reader_next(&line->reader);
            line->holds = false;
        }
        unsigned char *space;
        size_t size;
        int got = 0;
        struct cr_frame frame;
        cr_frame_reader_space(&line->reader, &space, &size);
        if (size > 0 && (got = SSL_read(line->ssl, space, (int)size)) <= 0) return false;
        must(cr_frame_reader_advance(&line->reader, (size_t)got, &line->holds, &frame));
        if (!line->holds) continue;
        must(cr_message_decode(&frame, &line->message));
        if (line->message.type == CR_FRAME_BEAT) continue;
        line_tell(line);
        return true;
    }
}

static inline bool line_until(struct line *line, enum cr_frame_type type)
{
    while (line_next(line))
        if (line->message.type == type) return true;
    return false;
}

static inline void line_wait_end(struct line *line)
{
    while (line_next(line)) continue;
}

// Without a word, as a network would cut it.
static inline void line_close(struct line *line)
{
    if (line->holds) cr_message_release(&line->message);
    cr_frame_reader_release(&line->reader);
    SSL_free(line->ssl);
    close(line->fd);
}

// As is usual.
static inline void line_end(struct line *line)
{
    line_say_only(line, CR_FRAME_CLOSE);
    SSL_shutdown(line->ssl);
    line_wait_end(line);
    line_close(line);
}

// A server's, which then gives tickets and takes early data.
static inline void be_generous(SSL_CTX *context)
{
    static const unsigned char id[] = "hostile";
    SSL_CTX_clear_options(context, SSL_OP_NO_TICKET);
    SSL_CTX_set_options(context, SSL_OP_NO_ANTI_REPLAY); // for which a cache of sessions would be needed
    SSL_CTX_set_num_tickets(context, 1);
    SSL_CTX_set_max_early_data(context, 1024);
    SSL_CTX_set_session_id_context(context, id, sizeof id);
}

// A ticket that allows early data, of a server of one's own: both its ends are in this process.
static inline SSL_SESSION *own_ticket(struct cr_tls *tls, const struct cr_identity *identity)
{
    struct cr_tls *generous;
    struct line ends[2];
    int pair[2];
    char byte;
    must(cr_tls_new_server(identity, &generous));
    be_generous(cr_tls_context(generous));
    must_be(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair) == 0, "no pair");
    line_start(&ends[0], generous, pair[0]);
    line_start(&ends[1], tls, pair[1]);
    SSL_set_verify(ends[1].ssl, SSL_VERIFY_NONE, NULL); // it is no server's certificate
    while (!SSL_is_init_finished(ends[0].ssl) || !SSL_is_init_finished(ends[1].ssl)) {
        SSL_do_handshake(ends[1].ssl);
        SSL_do_handshake(ends[0].ssl);
    }
    must_be(SSL_write(ends[0].ssl, "x", 1) == 1 && SSL_read(ends[1].ssl, &byte, 1) == 1, "no ticket");
    SSL_SESSION *session = SSL_get1_session(ends[1].ssl);
    must_be(SSL_SESSION_get_max_early_data(session) > 0, "the ticket allows no early data");
    SSL_set_shutdown(ends[1].ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN); // or it counts as bad
    line_close(&ends[0]);
    line_close(&ends[1]);
    cr_tls_free(generous);
    return session;
}

#endif
