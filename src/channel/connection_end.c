// How a connection ends: closed, refused or cut, by either end.
#include "channel/connection_parts.h"

#include "base/clock.h"
#include "base/words.h"

#include <errno.h>
#include <openssl/err.h>
#include <stdio.h>
#include <sys/socket.h>

enum { READS_AT_ONCE = 64 }; // reads of what is discarded, before other connections have their turn

void cr_connection_free(struct cr_connection *c)
{
    if (!c) return;
    c->phase = CR_PHASE_ENDED;
    c->doomed = true;
    if (!c->busy) cr_connection_destroy(c);
}

static void keep_why(struct cr_connection *c, enum cr_status status, const char *why)
{
    c->status = status;
    snprintf(c->why, sizeof c->why, "%s", why);
}

void cr_connection_end(struct cr_connection *c)
{
    if (c->phase == CR_PHASE_ENDED) return;
    c->phase = CR_PHASE_ENDED;
    event_del(c->tick);
    cr_queue_drop(&c->queue);
    cr_connection_drop_socket(c);
    if (c->handler->closed) c->handler->closed(c->context, c, c->status, c->why);
}

void cr_connection_end_with(struct cr_connection *c, enum cr_status status, const char *why)
{
    keep_why(c, status, why);
    cr_connection_end(c);
}

void cr_connection_begin_ending(struct cr_connection *c, enum cr_status status, const char *why)
{
    if (c->phase >= CR_PHASE_ENDING) return;
    keep_why(c, status, why);
    bool can_speak = cr_connection_speaks(c);
    c->phase = CR_PHASE_ENDING;
    c->phase_since = cr_clock_monotonic();
    if (!can_speak ||
        cr_connection_enqueue(c, &(struct cr_message){.type = CR_FRAME_CLOSE}, NULL, NULL) != CR_OK)
        c->shut = true;
    cr_connection_want_events(c);
}

void cr_connection_close(struct cr_connection *c)
{
    cr_connection_begin_ending(c, CR_OK, "");
}

// Makes any bytes a text that a peer accepts. A message may contain a file name in any encoding, or be cut
// within a character.
static void clean_text(char *text)
{
    for (size_t bad_at; !cr_utf8_valid(cr_slice_of_string(text), &bad_at);) text[bad_at] = '?';
    cr_make_plain(text);
}

// `why` is reported on this side; `told` is sent to the peer.
static void refuse(struct cr_connection *c, enum cr_status status, const char *why, const char *told)
{
    char kept[CR_CONNECTION_WHY_SIZE];
    snprintf(kept, sizeof kept, "%s", why);
    if (cr_connection_speaks(c)) {
        struct cr_message refused = {.type = CR_FRAME_REFUSED, .refused.status = status};
        snprintf(refused.refused.reason, sizeof refused.refused.reason, "%.*s", CR_MESSAGE_TEXT_SIZE - 1,
                 told);
        clean_text(refused.refused.reason);
        // If this cannot be queued either, the peer sees a close without a reason.
        (void)!cr_connection_enqueue(c, &refused, NULL, NULL);
    }
    cr_connection_begin_ending(c, status, kept);
}

bool cr_connection_is_about_the_peer(enum cr_status status)
{
    return status == CR_PROTOCOL || status == CR_DENIED || status == CR_TIMEOUT;
}

void cr_connection_refuse(struct cr_connection *c, enum cr_status status, const char *why)
{
    // A silo's message may quote its data or name its files, so the server gets only the kind of failure. So
    // does a stranger, if the failure is the server's.
    char kind[64];
    snprintf(kind, sizeof kind, "%s (its own log says why)", cr_status_name(status));
    bool whole = cr_tls_is_server(c->tls) && (!c->peer.anonymous || cr_connection_is_about_the_peer(status));
    refuse(c, status, why, whole ? why : kind);
}

void cr_connection_refuse_with_error(struct cr_connection *c, enum cr_status status)
{
    refuse(c, status, cr_error_message(), cr_error_message());
}

void cr_connection_finish_ending(struct cr_connection *c)
{
    if (c->queue.bytes > 0 || c->phase != CR_PHASE_ENDING) return;
    if (!c->shut) {
        ERR_clear_error();
        SSL_shutdown(c->ssl);
        shutdown(c->fd, SHUT_WR);
        c->shut = true;
    }
    unsigned char scratch[4096];
    for (int reads = 0; reads < READS_AT_ONCE; reads++) {
        ERR_clear_error();
        errno = 0;
        int result = SSL_read(c->ssl, scratch, sizeof scratch);
        if (result > 0) continue;
        int error = SSL_get_error(c->ssl, result);
        if (error != SSL_ERROR_WANT_READ && error != SSL_ERROR_WANT_WRITE) cr_connection_end(c);
        return;
    }
    c->unread = true; // a peer that keeps sending is cut at a tick
}
