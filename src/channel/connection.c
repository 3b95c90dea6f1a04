#include "channel/connection_parts.h"

#include "base/clock.h"

#include <errno.h>
#include <math.h>
#include <netdb.h>
#include <openssl/err.h>
#include <stdio.h>

enum {
    FRAMES_AT_ONCE = 8,   // frames handled before other connections have their turn
    HANDSHAKE_LIMIT = 20, // seconds, even if the timeout is longer; also the limit for strangers
    ADDRESS_LIMIT = 5     // seconds for an address, if the name has more of them
};
static const double beat_seconds = 1.0, linger_seconds = 2.0;

#define ONLY(type) (UINT32_C(1) << CR_FRAME_##type)
static const uint32_t any_way = ONLY(REFUSED) | ONLY(BEAT) | ONLY(CLOSE) | ONLY(PULL) | ONLY(VALUES);
static const uint32_t from_silo =
    ONLY(HELLO) | ONLY(READY) | ONLY(PROGRESS) | ONLY(TRAINED) | ONLY(OFFER) | ONLY(CUT) | ONLY(ASK);
static const uint32_t from_server = ONLY(ENROLLED) | ONLY(MANIFEST) | ONLY(JOB) | ONLY(BEGIN) | ONLY(CLOSED) |
                                    ONLY(FINISHED) | ONLY(HELD) | ONLY(NEXT) | ONLY(SCORE);
static const uint32_t attesting =
    ONLY(CHALLENGE) | ONLY(EVIDENCE) | ONLY(ADMITTED) | ONLY(REFUSED) | ONLY(BEAT) | ONLY(CLOSE);
static const uint32_t from_stranger = ONLY(ENROL) | ONLY(REFUSED) | ONLY(BEAT) | ONLY(CLOSE);

bool cr_connection_speaks(const struct cr_connection *c)
{
    return c->phase == CR_PHASE_ATTESTING || c->phase == CR_PHASE_OPEN;
}

enum cr_status cr_connection_enqueue(struct cr_connection *c, const struct cr_message *message,
                                     void (*release)(void *owner), void *owner)
{
    if (c->queue.bytes == 0) c->last_sent = cr_clock_monotonic();
    return cr_queue_push(&c->queue, message, release, owner);
}

void cr_connection_want_events(struct cr_connection *c)
{
    if (!c->readable) return;
    bool read = c->phase == CR_PHASE_HANDSHAKE || c->phase == CR_PHASE_ENDING ||
                (cr_connection_speaks(c) && c->queue.bytes <= CR_CONNECTION_QUEUE);
    bool write = c->phase == CR_PHASE_CONNECTING || (c->phase != CR_PHASE_HANDSHAKE && c->queue.bytes > 0) ||
                 c->ssl_wants_write || (c->phase == CR_PHASE_ENDING && !c->shut);
    // What failed for lack of memory is tried again at the next tick.
    if (read != c->read_wanted && (read ? event_add(c->readable, NULL) : event_del(c->readable)) == 0)
        c->read_wanted = read;
    if (write != c->write_wanted && (write ? event_add(c->writable, NULL) : event_del(c->writable)) == 0)
        c->write_wanted = write;
}

enum cr_status cr_connection_send(struct cr_connection *c, const struct cr_message *message,
                                  void (*release)(void *owner), void *owner)
{
    if (c->phase >= CR_PHASE_ENDING) {
        if (release) release(owner);
        return CR_OK;
    }
    CR_TRY(cr_connection_enqueue(c, message, release, owner));
    cr_connection_want_events(c);
    return CR_OK;
}

static void cut(struct cr_connection *c)
{
    char why[CR_ADDRESS_SIZE + 64];
    snprintf(why, sizeof why, "%s: the connection was cut", c->label);
    cr_connection_end_with(c, CR_IO, why);
}

// Handles a libssl call that returned `result`. True if the call is to be repeated later.
static bool try_later(struct cr_connection *c, int result)
{
    int saved = errno;
    int error = SSL_get_error(c->ssl, result);
    if (error == SSL_ERROR_WANT_READ) return true;
    if (error == SSL_ERROR_WANT_WRITE) {
        c->ssl_wants_write = true;
        return true;
    }
    if (c->phase == CR_PHASE_ENDING) {
        cr_connection_end(c);
    } else if (error == SSL_ERROR_SSL) {
        enum cr_status status = cr_tls_failure(c->ssl, c->label);
        cr_connection_end_with(c, status, cr_error_message());
    } else if (error == SSL_ERROR_SYSCALL && saved != 0 && saved != ECONNRESET && saved != EPIPE) {
        errno = saved;
        enum cr_status status = cr_fail_errno(CR_IO, "%s", c->label);
        cr_connection_end_with(c, status, cr_error_message());
    } else {
        cut(c);
    }
    return false;
}

static void flush(struct cr_connection *c)
{
    struct cr_slice piece;
    while (c->phase != CR_PHASE_ENDED && cr_queue_piece(&c->queue, &piece)) {
        ERR_clear_error();
        errno = 0;
        int put = SSL_write(c->ssl, piece.data, (int)piece.size);
        if (put <= 0) {
            try_later(c, put);
            return;
        }
        c->last_sent = cr_clock_monotonic();
        cr_queue_sent(&c->queue, (size_t)put);
    }
}

// The peer is identified, and admitted if that is required.
static enum cr_status open_up(struct cr_connection *c)
{
    c->phase = CR_PHASE_OPEN;
    if (!cr_tls_is_server(c->tls))
        c->reader.accepted = any_way | from_server;
    else
        c->reader.accepted = c->peer.anonymous ? from_stranger : any_way | from_silo;
    // Accepted only to reply that this end has no evidence to answer with.
    if (!c->challenge) c->reader.accepted |= ONLY(CHALLENGE);
    return c->handler->opened(c->context, c);
}

static enum cr_status attest(struct cr_connection *c, const struct cr_message *message)
{
    struct cr_message answer;
    if (!c->challenge)
        return cr_fail(CR_DENIED, "%s asks for evidence, and this end was not told to show any (no attester)",
                       c->label);
    CR_TRY(cr_challenge_take(c->challenge, message, cr_clock_monotonic(), &answer));
    if (answer.type != 0) CR_TRY(cr_connection_enqueue(c, &answer, NULL, NULL));
    return cr_challenge_done(c->challenge) ? open_up(c) : CR_OK;
}

static bool is_of_attestation(enum cr_frame_type type)
{
    return type == CR_FRAME_CHALLENGE || type == CR_FRAME_EVIDENCE || type == CR_FRAME_ADMITTED;
}

static void deliver(struct cr_connection *c, const struct cr_frame *frame)
{
    struct cr_message message;
    enum cr_status status = cr_message_decode(frame, &message);
    if (status != CR_OK) {
        cr_connection_refuse_with_error(c, status);
        return;
    }
    if (message.type == CR_FRAME_CLOSE) {
        cr_connection_begin_ending(c, CR_OK, "");
    } else if (message.type == CR_FRAME_REFUSED) {
        char why[CR_CONNECTION_WHY_SIZE];
        snprintf(why, sizeof why, "%s: %s",
                 cr_tls_is_server(c->tls) ? "the silo gave up" : "the server refused",
                 message.refused.reason);
        cr_connection_begin_ending(c, message.refused.status, why);
    } else if (message.type != CR_FRAME_BEAT) {
        bool attestation = is_of_attestation(message.type);
        status = attestation ? attest(c, &message) : c->handler->received(c->context, c, &message);
        // The peer is told what is wrong with its evidence, but not what is wrong at this end.
        if (status != CR_OK && attestation && cr_connection_is_about_the_peer(status))
            cr_connection_refuse_with_error(c, status);
        else if (status != CR_OK)
            cr_connection_refuse(c, status, cr_error_message());
    }
    cr_message_release(&message);
}

void cr_connection_on_tls_message(int sent, int version, int type, const void *bytes, size_t size, SSL *ssl,
                                  void *context)
{
    (void)version;
    struct cr_connection *c = context;
    if (sent || type != SSL3_RT_HANDSHAKE || size == 0 || *(const unsigned char *)bytes != SSL3_MT_KEY_UPDATE)
        return;
    c->changes_keys = true;
    SSL_set_shutdown(ssl, SSL_get_shutdown(ssl) | SSL_RECEIVED_SHUTDOWN); // libssl then reads no further
}

static void refuse_new_keys(struct cr_connection *c)
{
    char why[CR_ADDRESS_SIZE + 64];
    snprintf(why, sizeof why, "%s: it changes its keys, which no end does here", c->label);
    cr_connection_end_with(c, CR_PROTOCOL, why);
}

static void read_frames(struct cr_connection *c)
{
    for (size_t frames = 0; cr_connection_speaks(c) && c->queue.bytes <= CR_CONNECTION_QUEUE;) {
        unsigned char *space;
        size_t size;
        cr_frame_reader_space(&c->reader, &space, &size);
        size_t got = 0;
        if (size > 0) {
            ERR_clear_error();
            errno = 0;
            int result = SSL_read(c->ssl, space, (int)size);
            if (result <= 0) {
                if (c->changes_keys)
                    refuse_new_keys(c);
                else
                    try_later(c, result);
                return;
            }
            got = (size_t)result;
            c->last_received = cr_clock_monotonic();
        }
        bool complete;
        struct cr_frame frame;
        enum cr_status status = cr_frame_reader_advance(&c->reader, got, &complete, &frame);
        if (status != CR_OK) {
            if (c->phase == CR_PHASE_ATTESTING)
                status = cr_fail_within(status, "before both ends are attested");
            cr_connection_refuse_with_error(c, status);
            return;
        }
        if (!complete) continue;
        deliver(c, &frame);
        cr_frame_reader_next(&c->reader);
        if (++frames == FRAMES_AT_ONCE) break;
    }
    c->unread = cr_connection_speaks(c);
}

static enum cr_status challenge(struct cr_connection *c)
{
    struct cr_ends ends = {.peer = c->peer, .address = c->label};
    struct cr_message ask;
    CR_TRY(cr_tls_own(c->ssl, &ends.own));
    CR_TRY(cr_tls_export(c->ssl, ends.exporter));
    CR_TRY(cr_challenge_new(cr_tls_admission(c->tls), &ends, cr_clock_monotonic(), &c->challenge));
    c->reader.accepted = attesting;
    cr_challenge_ask(c->challenge, &ask);
    return cr_connection_enqueue(c, &ask, NULL, NULL);
}

static void shake_hands(struct cr_connection *c)
{
    ERR_clear_error();
    errno = 0;
    int result = SSL_do_handshake(c->ssl);
    if (result != 1) {
        try_later(c, result);
        return;
    }
    enum cr_status status = cr_tls_peer(c->tls, c->ssl, &c->peer);
    c->phase = CR_PHASE_ATTESTING;
    c->last_received = c->last_sent = cr_clock_monotonic();
    if (status == CR_OK) status = cr_tls_admission(c->tls) && !c->peer.anonymous ? challenge(c) : open_up(c);
    if (status != CR_OK) cr_connection_refuse_with_error(c, status);
}

static void drive(struct cr_connection *c)
{
    c->unread = false;
    if (c->phase == CR_PHASE_CONNECTING)
        cr_connection_finish_connect(c);
    else
        c->ssl_wants_write = false;
    if (c->phase == CR_PHASE_HANDSHAKE) shake_hands(c);
    if (cr_connection_speaks(c) || c->phase == CR_PHASE_ENDING) flush(c);
    if (cr_connection_speaks(c)) {
        read_frames(c);
        if (cr_connection_speaks(c) || c->phase == CR_PHASE_ENDING) flush(c);
    }
    if (c->phase == CR_PHASE_ENDING) cr_connection_finish_ending(c);
}

void cr_connection_on_event(evutil_socket_t fd, short what, void *context)
{
    (void)fd;
    (void)what;
    struct cr_connection *c = context;
    c->busy = true;
    drive(c);
    c->busy = false;
    if (c->doomed) {
        cr_connection_destroy(c);
        return;
    }
    cr_connection_want_events(c);
    // Only now: libevent would not watch the socket of an event that is active when it is added.
    if (c->unread && c->read_wanted) event_active(c->readable, EV_READ, 0);
}

static void judge_time(struct cr_connection *c, double now)
{
    char why[CR_ADDRESS_SIZE + 96];
    bool stuck = c->queue.bytes > 0 && now - c->last_sent > c->timeout;
    // A stranger's time is limited even if it gives signs of life.
    bool stranger = c->phase == CR_PHASE_OPEN && cr_tls_is_server(c->tls) && c->peer.anonymous;
    if (c->phase == CR_PHASE_CONNECTING || c->phase == CR_PHASE_HANDSHAKE || stranger) {
        double limit = fmin(c->timeout, HANDSHAKE_LIMIT);
        bool has_more = c->phase == CR_PHASE_CONNECTING && c->address->ai_next;
        if (has_more) limit = fmin(limit, ADDRESS_LIMIT);
        if (now - c->phase_since <= limit) return;
        enum cr_status status = cr_fail(CR_TIMEOUT, "%s: no answer for %.0f seconds", c->label, limit);
        if (has_more)
            cr_connection_try_next(c, status);
        else
            cr_connection_end_with(c, status, cr_error_message());
    } else if (c->phase == CR_PHASE_ENDING) {
        if (stuck || (c->queue.bytes == 0 && now - c->phase_since > linger_seconds)) cr_connection_end(c);
    } else if (c->phase == CR_PHASE_ATTESTING && cr_challenge_check_time(c->challenge, now) != CR_OK) {
        cr_connection_refuse_with_error(c, CR_TIMEOUT);
    } else if (stuck || (c->queue.bytes <= CR_CONNECTION_QUEUE && now - c->last_received > c->timeout)) {
        snprintf(why, sizeof why, "%s: no sign of life for %.0f seconds", c->label, c->timeout);
        cr_connection_end_with(c, CR_TIMEOUT, why);
    } else if (c->queue.bytes == 0 && now - c->last_sent >= beat_seconds) {
        enum cr_status status =
            cr_connection_enqueue(c, &(struct cr_message){.type = CR_FRAME_BEAT}, NULL, NULL);
        if (status != CR_OK) cr_connection_end_with(c, status, cr_error_message());
    }
}

void cr_connection_on_tick(evutil_socket_t fd, short what, void *context)
{
    (void)fd;
    (void)what;
    struct cr_connection *c = context;
    c->busy = true;
    judge_time(c, cr_clock_monotonic());
    c->busy = false;
    if (c->doomed)
        cr_connection_destroy(c);
    else
        cr_connection_want_events(c);
}

void cr_connection_set_context(struct cr_connection *c, void *context)
{
    c->context = context;
}

void cr_connection_set_timeout(struct cr_connection *c, double seconds)
{
    c->timeout = seconds;
}

enum cr_status cr_connection_appraise_again(const struct cr_connection *c, uint64_t round)
{
    return c->challenge ? cr_challenge_again(c->challenge, round) : CR_OK;
}

const struct cr_peer *cr_connection_peer(const struct cr_connection *c)
{
    return &c->peer;
}

const char *cr_connection_address(const struct cr_connection *c)
{
    return c->label;
}
