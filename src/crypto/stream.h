// A connection between a trusted process and an accelerator: a socket (base/socket.h), or TLS 1.3 over one.
//
// Addresses are those of base/socket.h, and "tls:HOST:PORT#KEY", where KEY is the SHA-256 of the listener's
// public key in hex. The connecting side trusts only that key, whatever the names, CAs and dates. The
// listener does not authenticate its peers. Using TLS makes the process ignore SIGPIPE, since libssl may
// write to a socket that the peer has closed.
#ifndef CARREL_CRYPTO_STREAM_H
#define CARREL_CRYPTO_STREAM_H

#include "base/bytes.h"
#include "base/socket.h"

struct cr_stream {
    int socket;
    void *tls;     // SSL *; NULL without TLS
    uint64_t sent; // bytes sent under TLS's current key
};
#define CR_STREAM_NONE ((struct cr_stream){.socket = -1})

// Sets *tls to whether the address is "tls:HOST:PORT#KEY". CR_INVALID for one that begins with "tls:" but is
// malformed.
enum cr_status cr_stream_is_tls(const char *address, bool *tls);

// As cr_socket_connect. CR_DENIED if the listener has another key than the address names.
enum cr_status cr_stream_connect(const char *address, double patience, struct cr_stream *out);

// A TLS listener's identity: the key in `directory`/key.pem (mode 0600), which is created if there is none.
struct cr_stream_host;
enum { CR_STREAM_KEY_SIZE = 65 }; // of KEY as text, with its terminating zero
enum cr_status cr_stream_host_new(const char *directory, struct cr_stream_host **out);
void cr_stream_host_free(struct cr_stream_host *host);         // NULL is allowed
const char *cr_stream_host_key(const struct cr_stream_host *); // the KEY of its address

// Starts TLS over an accepted socket. The caller keeps ownership of the socket, even on failure.
enum cr_status cr_stream_accept(struct cr_stream_host *host, int socket, const char *peer,
                                struct cr_stream *out);

// For stream_host.c: starts TLS with this SSL_CTX over a socket, and completes the handshake.
enum cr_status cr_stream_start(void *context, int socket, bool server, const char *peer,
                               struct cr_stream *out);

// As the functions of base/socket.h.
enum cr_status cr_stream_send(struct cr_stream *stream, const void *bytes, size_t size, const char *peer);
enum cr_status cr_stream_receive(struct cr_stream *stream, void *bytes, size_t size, const char *peer);
enum cr_status cr_stream_wait(struct cr_stream *stream, const char *peer, bool *ended);

// Waits until there is something to receive, or the peer has closed the connection. If the peer stays silent:
// CR_CANCELLED once this process is asked to stop (base/signals.h), CR_TIMEOUT after `patience` seconds.
enum cr_status cr_stream_await(struct cr_stream *stream, double patience, const char *peer);

// Frees TLS's state, and leaves the socket as it is.
void cr_stream_release(struct cr_stream *stream);

#endif
