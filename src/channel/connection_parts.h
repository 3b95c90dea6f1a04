// The inside of a connection, shared by connection.c (frames and the protocol's phases), connection_socket.c
// (how connections are made and destroyed) and connection_end.c (how they end). Only these three include it.
#ifndef CARREL_CHANNEL_CONNECTION_PARTS_H
#define CARREL_CHANNEL_CONNECTION_PARTS_H

#include "channel/challenge.h"
#include "channel/connection.h"
#include "channel/queue.h"

#include <event2/event.h>
#include <openssl/ssl.h>

enum { CR_CONNECTION_WHY_SIZE = 2048 }; // of the message kept until the end

enum cr_connection_phase {
    CR_PHASE_CONNECTING,
    CR_PHASE_HANDSHAKE,
    CR_PHASE_ATTESTING, // the challenge: no other messages are accepted
    CR_PHASE_OPEN,
    CR_PHASE_ENDING, // sends what is queued, then waits for the peer's end, so that a reset cannot overtake
                     // what was sent
    CR_PHASE_ENDED
};

struct cr_connection {
    struct cr_loop *loop;
    struct cr_tls *tls;
    const struct cr_connection_handler *handler;
    void *context;
    SSL *ssl;
    int fd;
    struct addrinfo *addresses, *address; // while connecting: all, and the one being tried
    struct event *readable, *writable, *tick;
    bool read_wanted, write_wanted; // events that are added to the loop
    bool ssl_wants_write;
    bool unread; // reading stopped early: libssl may hold bytes that the socket no longer reports
    enum cr_connection_phase phase;
    bool busy, doomed; // inside a callback; to be freed when it returns
    bool shut;         // in CR_PHASE_ENDING: this end has closed
    bool changes_keys; // the peer sent a TLS KeyUpdate
    struct cr_frame_reader reader;
    struct cr_queue queue;
    double timeout, last_received, last_sent, phase_since;
    struct cr_peer peer;
    struct cr_challenge *challenge; // NULL if there is no attestation
    char label[CR_ADDRESS_SIZE];
    enum cr_status status; // with which the connection ended
    char why[CR_CONNECTION_WHY_SIZE];
};

// connection_socket.c:

// drop_socket releases the socket and its events; destroy frees everything.
void cr_connection_drop_socket(struct cr_connection *c);
void cr_connection_destroy(struct cr_connection *c);

// A connecting socket became writable: either it is connected, or the next address is tried.
void cr_connection_finish_connect(struct cr_connection *c);

// Gives up the current address and tries the next one. If none is left, ends the connection with `status` and
// the message of cr_error_message.
void cr_connection_try_next(struct cr_connection *c, enum cr_status status);

// connection_end.c:

// Ends at once, with the status and message that are kept, or with these.
void cr_connection_end(struct cr_connection *c);
void cr_connection_end_with(struct cr_connection *c, enum cr_status status, const char *why);

// Sends what is queued and a close, and ends then. finish_ending is called while that goes on.
void cr_connection_begin_ending(struct cr_connection *c, enum cr_status status, const char *why);
void cr_connection_finish_ending(struct cr_connection *c);

// Refuses the peer for an error in what it sent, of which it gets the whole message.
void cr_connection_refuse_with_error(struct cr_connection *c, enum cr_status status);

// Whether a failure with this status is the peer's.
bool cr_connection_is_about_the_peer(enum cr_status status);

// connection.c:

// Whether frames may be sent and received.
bool cr_connection_speaks(const struct cr_connection *c);

// Queues a message, as cr_connection_send does, in any phase.
enum cr_status cr_connection_enqueue(struct cr_connection *c, const struct cr_message *message,
                                     void (*release)(void *owner), void *owner);

// Adds or removes the events that this phase waits for.
void cr_connection_want_events(struct cr_connection *c);
void cr_connection_on_event(evutil_socket_t fd, short what, void *context);
void cr_connection_on_tick(evutil_socket_t fd, short what, void *context);

// Message callback for libssl. Ends the reading at the first KeyUpdate: our own programs never send one, and
// a peer that sends them without end would keep the thread in one read.
void cr_connection_on_tls_message(int sent, int version, int type, const void *bytes, size_t size, SSL *ssl,
                                  void *context);

#endif
