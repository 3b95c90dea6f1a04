// Stream sockets between two processes that take turns, such as a trusted process and its accelerator. Calls
// block; a call that makes no progress for the socket's patience (its timeout in seconds) returns CR_TIMEOUT.
//
// An address is "unix:PATH" or host:port (address.h). `peer` names the other side in error messages.
#ifndef CARREL_BASE_SOCKET_H
#define CARREL_BASE_SOCKET_H

#include "base/status.h"

#include <stdbool.h>
#include <stddef.h>

// CR_INVALID unless the text is such an address, with a path of a socket's length. Resolves no name.
enum cr_status cr_socket_check(const char *address);

// Port 0 means any free port. A stale socket file, at which nobody listens, is replaced; a socket file in use
// and a file of another kind are CR_IO. Unix sockets have mode 0600.
enum cr_status cr_socket_listen(const char *address, int *out);

// Stops listening, and removes the socket file unless another process listens at it by now. A concurrent
// accept in another thread fails.
void cr_socket_withdraw(int *listener);

// Accepts the next connection, with this patience in seconds. If descriptors or memory run out, waits until
// there are some.
enum cr_status cr_socket_accept(int listener, double patience, int *out);

// If nobody listens yet, retries for `patience` seconds. CR_CANCELLED if the process is asked to stop
// meanwhile (base/signals.h).
enum cr_status cr_socket_connect(const char *address, double patience, int *out);

// The address of a listener, with the actual port where port 0 was asked for.
enum { CR_SOCKET_NAME_SIZE = 264 };
enum cr_status cr_socket_name(int listener, char out[CR_SOCKET_NAME_SIZE]);

// Send or receive exactly `size` bytes; CR_IO if the peer closes the connection before that.
enum cr_status cr_socket_send(int socket, const void *bytes, size_t size, const char *peer);
enum cr_status cr_socket_receive(int socket, void *bytes, size_t size, const char *peer);

// Waits without a time limit until there is something to receive, or the peer has closed the connection
// (*ended).
enum cr_status cr_socket_wait(int socket, const char *peer, bool *ended);

// Pass a file descriptor along with one byte; for unix sockets only. The receiver closes *out; CR_PROTOCOL
// unless exactly one descriptor came.
enum cr_status cr_socket_send_descriptor(int socket, int descriptor, const char *peer);
enum cr_status cr_socket_receive_descriptor(int socket, const char *peer, int *out);

// Ends the sending side, then reads and discards what the peer sends until it closes the connection or
// nothing comes for the socket's patience. Closing at once could lose what was sent last.
void cr_socket_finish(int socket);

// Closes *socket (where it is not negative) and sets it to -1; usable with CR_CLEANUP.
void cr_socket_close(int *socket);

#endif
