// One connection: TLS over a socket, frames over that, driven by a loop; the same object for both ends.
//
// A connection opens, carries frames, and ends in exactly one call of `closed`. Nothing it does blocks.
// While more than CR_CONNECTION_QUEUE bytes wait to be sent it reads nothing, so a peer that asks without
// taking answers stops itself. An idle connection sends a Beat every second.
#ifndef CARREL_CHANNEL_CONNECTION_H
#define CARREL_CHANNEL_CONNECTION_H

#include "base/address.h"
#include "channel/loop.h"
#include "channel/message.h"
#include "channel/tls.h"

enum { CR_CONNECTION_QUEUE = 2 << 20 }; // bytes

struct cr_connection;

// All are called on the loop's thread, with the context given at the start. A connection may be closed,
// failed or freed within them.
struct cr_connection_handler {
    // The handshake is done and the peer known, and where `tls` has an admission both ends have admitted each
    // other. A failure ends the connection with it.
    enum cr_status (*opened)(void *context, struct cr_connection *connection);

    // A message came (never one of the connection's own: Refused, Beat, Close, or what attests it). It lives
    // until the return. A failure is told to the peer as a Refused message and ends the connection with it.
    enum cr_status (*received)(void *context, struct cr_connection *connection,
                               const struct cr_message *message);

    // The last call. CR_OK: both ends said Close. Otherwise `why` is the sentence: what this end found
    // wrong, the peer's own words (CR_DENIED and others out of its Refused), a cut connection (CR_IO), or no
    // sign of life (CR_TIMEOUT).
    void (*closed)(void *context, struct cr_connection *connection, enum cr_status status, const char *why);
};

// Begins to connect; name resolution alone happens at once. `timeout`: seconds without a sign of life from
// the peer, or without it taking what was sent.
enum cr_status cr_connection_open(struct cr_loop *loop, struct cr_tls *tls, const char *address,
                                  double timeout, const struct cr_connection_handler *handler, void *context,
                                  struct cr_connection **out);

// NULL is allowed. An open connection is cut without `closed` being called.
void cr_connection_free(struct cr_connection *connection);

void cr_connection_set_timeout(struct cr_connection *connection, double seconds);

// Queues a message. message->body is sent by reference: it must stay unchanged until `release` (may be NULL)
// is called with `owner`, which happens exactly once, also where this call fails. After close, fail, or the
// end it does nothing.
enum cr_status cr_connection_send(struct cr_connection *connection, const struct cr_message *message,
                                  void (*release)(void *owner), void *owner);

// No more is sent after what is queued; `closed` follows with CR_OK.
void cr_connection_close(struct cr_connection *connection);

// Tells the peer why, as a Refused message, and closes; `closed` follows with this status and sentence. A
// server hears only the status from a silo, and so does one without a certificate of a failure that is not
// its own.
void cr_connection_refuse(struct cr_connection *connection, enum cr_status status, const char *why);

// Appraises the evidence that the peer showed once more, as the endorsements and the time are now, for a
// round (from 1) that is to begin. The failure is the reason to refuse the peer. CR_OK where nobody is
// attested.
enum cr_status cr_connection_appraise_again(const struct cr_connection *connection, uint64_t round);

// Who it is, once the handshake is done; nobody before.
const struct cr_peer *cr_connection_peer(const struct cr_connection *connection);
const char *cr_connection_address(const struct cr_connection *connection); // host:port of the peer

// For listener.c: takes an accepted socket over; and whose connection it is, before anything happens on it.
enum cr_status cr_connection_accept(struct cr_loop *loop, struct cr_tls *tls, int fd, double timeout,
                                    const struct cr_connection_handler *handler, struct cr_connection **out);
void cr_connection_set_context(struct cr_connection *connection, void *context);

#endif
