// A listening socket, driven by a loop, from which a server gets its connections.
#ifndef CARREL_CHANNEL_LISTENER_H
#define CARREL_CHANNEL_LISTENER_H

#include "channel/connection.h"

// Listens at "host:port"; port 0 means any free port. `accepted` is called with each new connection, which
// the receiver must free. It returns the connection's context, or NULL to refuse it. `timeout` is that of
// each connection, as in cr_connection_open. Fails with CR_IO if the address cannot be listened on.
struct cr_listener;
enum cr_status cr_listener_new(struct cr_loop *loop, struct cr_tls *tls, const char *address, double timeout,
                               void *(*accepted)(void *context, struct cr_connection *connection),
                               const struct cr_connection_handler *handler, void *context,
                               struct cr_listener **out);
void cr_listener_free(struct cr_listener *listener); // NULL is allowed

// The port that it listens on.
unsigned cr_listener_port(const struct cr_listener *listener);

#endif
