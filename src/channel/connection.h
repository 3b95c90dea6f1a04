// One connection: TLS over a socket, and frames over TLS, driven by a loop. Both ends use the same object.
//
// A connection opens, carries frames, and ends with exactly one call of `closed`. It never blocks. While more
// than CR_CONNECTION_QUEUE bytes wait to be sent it reads nothing, so a peer that sends requests without
// receiving the answers only stops itself. An idle connection sends a Beat every second.
#ifndef CARREL_CHANNEL_CONNECTION_H
#define CARREL_CHANNEL_CONNECTION_H

#include "base/address.h"
#include "channel/loop.h"
#include "channel/message.h"
#include "channel/tls.h"

enum { CR_CONNECTION_QUEUE = 2 << 20 }; // bytes waiting to be sent

struct cr_connection;

// All are called on the loop's thread, with the context given at the start. They may close, refuse or free
// the connection.
struct cr_connection_handler {
    // The handshake is done and the peer identified. If `tls` has an admission, both ends have admitted each
    // other. A failure ends the connection with its status.
    enum cr_status (*opened)(void *context, struct cr_connection *connection);

    // A message arrived, other than those the connection handles itself (Refused, Beat, Close, and those of
    // the challenge). It is valid until the handler returns. A failure is sent to the peer as a Refused
    // message and ends the connection with its status.
    enum cr_status (*received)(void *context, struct cr_connection *connection,
                               const struct cr_message *message);

    // The last call. CR_OK: both ends sent Close. Otherwise `why` is the message for `status`: what this end
    // found wrong, the peer's own words (CR_DENIED and others, from its Refused), a connection that was cut
    // (CR_IO), or no sign of life (CR_TIMEOUT).
    void (*closed)(void *context, struct cr_connection *connection, enum cr_status status, const char *why);
};

// Begins to connect to `address`, "host:port". The name is resolved before this returns; everything else
// happens in the loop. `timeout`: most seconds without a sign of life from the peer, or without the peer
// receiving what was sent.
enum cr_status cr_connection_open(struct cr_loop *loop, struct cr_tls *tls, const char *address,
                                  double timeout, const struct cr_connection_handler *handler, void *context,
                                  struct cr_connection **out);

// Cuts an open connection, without a call of `closed`. NULL is allowed.
void cr_connection_free(struct cr_connection *connection);

void cr_connection_set_timeout(struct cr_connection *connection, double seconds);

// Queues a message. message->body is not copied and must stay unchanged until `release` (may be NULL) is
// called with `owner`. That happens exactly once, also if this fails. After close or refuse, or after the
// end, nothing is sent.
enum cr_status cr_connection_send(struct cr_connection *connection, const struct cr_message *message,
                                  void (*release)(void *owner), void *owner);

// Closes once everything in the queue is sent; `closed` follows with CR_OK.
void cr_connection_close(struct cr_connection *connection);

// Sends the peer the reason as a Refused message, and closes; `closed` follows with this status and message.
// A silo sends the server only the status. The server sends only the status to a peer without a certificate,
// if the failure is the server's own.
void cr_connection_refuse(struct cr_connection *connection, enum cr_status status, const char *why);

// Appraises the peer's evidence again before round `round` (from 1), with the current endorsements and time.
// If this fails, the message is the reason to refuse the peer. CR_OK if the peer is not attested.
enum cr_status cr_connection_appraise_again(const struct cr_connection *connection, uint64_t round);

// The peer, once the handshake is done; before that, zeros.
const struct cr_peer *cr_connection_peer(const struct cr_connection *connection);
const char *cr_connection_address(const struct cr_connection *connection); // host:port of the peer

// For listener.c: takes over an accepted socket. cr_connection_set_context sets the handler's context, before
// any call of the handler.
enum cr_status cr_connection_accept(struct cr_loop *loop, struct cr_tls *tls, int fd, double timeout,
                                    const struct cr_connection_handler *handler, struct cr_connection **out);
void cr_connection_set_context(struct cr_connection *connection, void *context);

#endif
