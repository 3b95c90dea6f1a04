// A connection between a trusted process and an accelerator: a socket (base/socket.h), or TLS 1.3 over one.
//
// Addresses are those of base/socket.h, and "tls:HOST:PORT#KEY": KEY is the SHA-256 of the public key of
// whoever listens, in hex. Who connects believes in that key alone: no name, no CA and no date. Who listens
// asks nobody who he is. TLS makes the process ignore SIGPIPE: libssl writes to sockets that a peer may have
// closed.
#ifndef CARREL_CRYPTO_STREAM_H
#define CARREL_CRYPTO_STREAM_H

#include "base/bytes.h"
#include "base/socket.h"

struct cr_stream {
    int socket;
    void *tls;     // SSL *; NULL: the socket alone
    uint64_t sent; // bytes under the present key of TLS
};
#define CR_STREAM_NONE ((struct cr_stream){.socket = -1})

// Whether the address is "tls:HOST:PORT#KEY". One that begins so and goes on otherwise is CR_INVALID.
enum cr_status cr_stream_is_tls(const char *address, bool *tls);

// As cr_socket_connect. Another key than the address names is CR_DENIED.
enum cr_status cr_stream_connect(const char *address, double patience, struct cr_stream *out);

// Who listens with a key: that in `directory`/key.pem (mode 0600), made where there is none.
struct cr_stream_host;
enum { CR_STREAM_KEY_SIZE = 65 }; // of the key's text, with its zero
enum cr_status cr_stream_host_new(const char *directory, struct cr_stream_host **out);
void cr_stream_host_free(struct cr_stream_host *host);         // NULL is allowed
const char *cr_stream_host_key(const struct cr_stream_host *); // what stands behind # in its address

// TLS over a socket that was accepted. The socket stays the caller's, whatever comes of it.
enum cr_status cr_stream_accept(struct cr_stream_host *host, int socket, const char *peer,
                                struct cr_stream *out);

// For stream_host.c: TLS with this SSL_CTX over a socket, through its handshake.
enum cr_status cr_stream_start(void *context, int socket, bool server, const char *peer,
                               struct cr_stream *out);

// As those of base/socket.h.
enum cr_status cr_stream_send(struct cr_stream *stream, const void *bytes, size_t size, const char *peer);
enum cr_status cr_stream_receive(struct cr_stream *stream, void *bytes, size_t size, const char *peer);
enum cr_status cr_stream_wait(struct cr_stream *stream, const char *peer, bool *ended);

// Waits until there is something to receive, or the peer has ended the connection. Once this process is asked
// to stop (base/signals.h), what a silent peer comes to is CR_CANCELLED; after `patience` seconds CR_TIMEOUT.
enum cr_status cr_stream_await(struct cr_stream *stream, double patience, const char *peer);

// Frees what TLS needs, and leaves the socket as it is.
void cr_stream_release(struct cr_stream *stream);

#endif
