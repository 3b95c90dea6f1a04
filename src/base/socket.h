// Stream sockets between two processes that answer each other in turn, such as a trusted process and its
// accelerator. Calls block; one that makes no progress for the socket's patience is CR_TIMEOUT.
//
// An address is "unix:PATH" or host:port (address.h). `peer` names the other side in error messages.
#ifndef CARREL_BASE_SOCKET_H
#define CARREL_BASE_SOCKET_H

#include "base/status.h"

#include <stdbool.h>
#include <stddef.h>

// Port 0 takes any free one. A socket file that nobody listens at any more is replaced; one at which somebody
// does, and a file of another kind, is CR_IO. A unix socket is its owner's alone (mode 0600).
enum cr_status cr_socket_listen(const char *address, int *out);

// Listens no more, and removes the socket file unless somebody else listens at it by now. An accept at it
// that is under way in another thread fails.
void cr_socket_withdraw(int *listener);

// The next connection, with this patience in seconds. Where there is no descriptor or no memory for it, it is
// waited for.
enum cr_status cr_socket_accept(int listener, double patience, int *out);

// Tries again for `patience` seconds where nobody listens yet, unless this process is to end
// (base/signals.h): CR_CANCELLED.
enum cr_status cr_socket_connect(const char *address, double patience, int *out);

// The address that a listener has: with the port that port 0 became.
enum { CR_SOCKET_NAME_SIZE = 264 };
enum cr_status cr_socket_name(int listener, char out[CR_SOCKET_NAME_SIZE]);

// All `size` bytes or a failure; an end of the connection is CR_IO.
enum cr_status cr_socket_send(int socket, const void *bytes, size_t size, const char *peer);
enum cr_status cr_socket_receive(int socket, void *bytes, size_t size, const char *peer);

// Waits, without an end, until there is something to receive, or the peer has ended the connection (*ended).
enum cr_status cr_socket_wait(int socket, const char *peer, bool *ended);

// One byte that carries a descriptor, over a unix socket alone. The receiver closes what it got; no
// descriptor, or more than one, is CR_PROTOCOL.
enum cr_status cr_socket_send_descriptor(int socket, int descriptor, const char *peer);
enum cr_status cr_socket_receive_descriptor(int socket, const char *peer, int *out);

// Says no more, and takes in what the peer still sends until it ends the connection or its patience does:
// closing at once would throw away what was said last.
void cr_socket_finish(int socket);

// Closes *socket (where it is not negative) and sets it to -1; usable with CR_CLEANUP.
void cr_socket_close(int *socket);

#endif
