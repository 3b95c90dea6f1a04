// Where a server's connections come from: a socket that listens, driven by a loop.
#ifndef CARREL_CHANNEL_LISTENER_H
#define CARREL_CHANNEL_LISTENER_H

#include "channel/connection.h"

// Listens at "host:port"; port 0: any free one. accepted: a new connection, which is the receiver's to free
// from then on; the context it returns is the connection's, and NULL refuses it. `timeout`: of each, as in
// cr_connection_open. An address that cannot be had is CR_IO.
struct cr_listener;
enum cr_status cr_listener_new(struct cr_loop *loop, struct cr_tls *tls, const char *address, double timeout,
                               void *(*accepted)(void *context, struct cr_connection *connection),
                               const struct cr_connection_handler *handler, void *context,
                               struct cr_listener **out);
void cr_listener_free(struct cr_listener *listener); // NULL is allowed

// The port it really listens on.
unsigned cr_listener_port(const struct cr_listener *listener);

#endif
