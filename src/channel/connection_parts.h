// Inside of a connection: what connection.c (frames, and what is said when) and connection_socket.c (how it
// comes to be) share. Included by these two alone.
#ifndef CARREL_CHANNEL_CONNECTION_PARTS_H
#define CARREL_CHANNEL_CONNECTION_PARTS_H

#include "channel/challenge.h"
#include "channel/connection.h"
#include "channel/queue.h"

#include <event2/event.h>
#include <openssl/ssl.h>

enum { CR_CONNECTION_WHY_SIZE = 2048 }; // of the sentence kept until the end

enum cr_connection_phase {
    CR_PHASE_CONNECTING,
    CR_PHASE_HANDSHAKE,
    CR_PHASE_ATTESTING, // both ends show evidence; nothing else is said
    CR_PHASE_OPEN,
    CR_PHASE_ENDING, // sends what is queued, then waits for the peer's end so that a reset does not overtake
                     // it
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
    bool read_wanted, write_wanted; // events that are set
    bool ssl_wants_write;
    bool unread; // reading stopped before its end: libssl may hold bytes of which the socket says nothing
    enum cr_connection_phase phase;
    bool busy, doomed; // inside a callback; to be freed after it
    bool shut;         // CR_PHASE_ENDING: our end is closed
    bool changes_keys; // the peer does, by TLS's KeyUpdate
    struct cr_frame_reader reader;
    struct cr_queue queue;
    double timeout, last_received, last_sent, phase_since;
    struct cr_peer peer;
    struct cr_challenge *challenge; // NULL where nobody is attested
    char label[CR_ADDRESS_SIZE];
    enum cr_status status; // of the end
    char why[CR_CONNECTION_WHY_SIZE];
};

// connection_socket.c:

// Frees what the socket has, and everything.
void cr_connection_drop_socket(struct cr_connection *c);
void cr_connection_destroy(struct cr_connection *c);

// The socket that was connecting can be written to: it is connected, or the next address is tried.
void cr_connection_finish_connect(struct cr_connection *c);

// Leaves the address that is being tried for the next one, or, with none left, ends the connection for
// `status` and the sentence of cr_error_message.
void cr_connection_try_next(struct cr_connection *c, enum cr_status status);

// connection.c:

// Tells the events what the phase waits for.
void cr_connection_want_events(struct cr_connection *c);
void cr_connection_end_with(struct cr_connection *c, enum cr_status status, const char *why);
void cr_connection_on_event(evutil_socket_t fd, short what, void *context);
void cr_connection_on_tick(evutil_socket_t fd, short what, void *context);

// libssl's. Ends the reading at the first KeyUpdate: none of ours makes one, and a peer that makes them
// without end would keep the thread in one read.
void cr_connection_on_tls_message(int sent, int version, int type, const void *bytes, size_t size, SSL *ssl,
                                  void *context);

#endif
