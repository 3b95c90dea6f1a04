#include "crypto/stream.h"

#include "base/address.h"
#include "base/clock.h"
#include "base/signals.h"
#include "crypto/identity.h"
#include "crypto/openssl.h"
#include "crypto/tls_basis.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

static const char prefix[] = "tls:";

// Bytes sent under one key. AES-GCM allows some 2^38 (RFC 8446, 5.5), which a day of training exceeds.
enum { KEY_LIMIT = 1 << 26 };

struct tls_address {
    char name[CR_ADDRESS_SIZE];                  // host:port
    char label[sizeof prefix + CR_ADDRESS_SIZE]; // the address without the key, for messages
    unsigned char key[CR_SHA256_SIZE];
};

static bool says_tls(const char *address)
{
    return strncmp(address, prefix, sizeof prefix - 1) == 0;
}

static enum cr_status parse(const char *text, struct tls_address *out)
{
    struct tls_address address = {0};
    struct cr_address parts;
    const char *name = text + sizeof prefix - 1, *hash = strchr(name, '#');
    size_t length = hash ? (size_t)(hash - name) : 0;
    bool right = hash && length < sizeof address.name && strlen(hash + 1) == 2 * sizeof address.key &&
                 cr_hex_decode(hash + 1, address.key, sizeof address.key) == CR_OK;
    if (right) memcpy(address.name, name, length);
    if (!right || cr_address_parse(address.name, &parts) != CR_OK)
        return cr_fail(CR_INVALID,
                       "\"%.400s\" is no address: tls:HOST:PORT#KEY is wanted, as carrel-accelerator "
                       "prints it",
                       text);
    snprintf(address.label, sizeof address.label, "%s%s", prefix, address.name);
    *out = address;
    return CR_OK;
}

enum cr_status cr_stream_is_tls(const char *address, bool *tls)
{
    struct tls_address parts;
    if (says_tls(address)) CR_TRY(parse(address, &parts));
    *tls = says_tls(address);
    return CR_OK;
}

// Replaces libssl's verification: the handshake proves that the peer has the key, and this checks that it is
// the expected key.
static int verify_key(X509_STORE_CTX *context, void *argument)
{
    unsigned char digest[CR_SHA256_SIZE];
    bool right = cr_certificate_key_digest(X509_STORE_CTX_get0_cert(context), digest) == CR_OK &&
                 memcmp(digest, argument, sizeof digest) == 0;
    X509_STORE_CTX_set_error(context, right ? X509_V_OK : X509_V_ERR_APPLICATION_VERIFICATION);
    return right;
}

// Called before a call of libssl, so that errors found afterwards come from that call.
static void begin_call(void)
{
    ERR_clear_error();
    errno = 0;
}

// Whether a call of libssl moved no bytes because the peer has closed the connection. Messages have lengths,
// so a missing close_notify does not matter.
static bool has_ended(const struct cr_stream *stream, int result)
{
    int saved = errno, error = SSL_get_error(stream->tls, result);
    if (error == SSL_ERROR_SYSCALL) return saved == 0 || saved == EPIPE || saved == ECONNRESET;
    return error == SSL_ERROR_ZERO_RETURN ||
           (error == SSL_ERROR_SSL && ERR_GET_REASON(ERR_peek_error()) == SSL_R_UNEXPECTED_EOF_WHILE_READING);
}

// The status of a call of libssl that moved no bytes; CR_OK: try again.
static enum cr_status no_bytes(const struct cr_stream *stream, int result, const char *peer)
{
    int saved = errno, error = SSL_get_error(stream->tls, result);
    bool ended = has_ended(stream, result);
    if ((error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE) && saved == EINTR) return CR_OK;
    if (error == SSL_ERROR_SSL && !ended) return cr_tls_basis_failure(peer);
    ERR_clear_error();
    if (ended) return cr_fail(CR_IO, "%s: the connection has ended", peer);
    errno = saved;
    if (error == SSL_ERROR_SYSCALL) return cr_fail_errno(CR_IO, "%s", peer);
    return cr_fail(CR_TIMEOUT, "%s: no sign of life for as long as was allowed", peer);
}

static enum cr_status shake_hands(struct cr_stream *stream, const char *peer)
{
    for (;;) {
        begin_call();
        int result = SSL_do_handshake(stream->tls);
        if (result == 1) return CR_OK;
        if (SSL_get_verify_result(stream->tls) == X509_V_ERR_APPLICATION_VERIFICATION) {
            ERR_clear_error();
            return cr_fail(CR_DENIED, "%s: it has another key than its address names", peer);
        }
        CR_TRY(no_bytes(stream, result, peer));
    }
}

enum cr_status cr_stream_start(void *context, int socket, bool server, const char *peer,
                               struct cr_stream *out)
{
    struct cr_stream stream = {.socket = socket, .tls = SSL_new(context)};
    signal(SIGPIPE, SIG_IGN);
    if (!stream.tls || SSL_set_fd(stream.tls, socket) != 1) {
        SSL_free(stream.tls);
        return cr_openssl_fail(CR_NO_MEMORY, "%s: TLS cannot be set up", peer);
    }
    if (server)
        SSL_set_accept_state(stream.tls);
    else
        SSL_set_connect_state(stream.tls);
    enum cr_status status = shake_hands(&stream, peer);
    if (status == CR_OK)
        *out = stream;
    else
        SSL_free(stream.tls);
    return status;
}

static enum cr_status connect_tls(const char *text, double patience, struct cr_stream *out)
{
    struct tls_address address;
    void *context;
    CR_CLEANUP(cr_socket_close) int socket = -1;
    CR_TRY(parse(text, &address));
    enum cr_status status = cr_socket_connect(address.name, patience, &socket);
    if (status != CR_OK) return cr_fail_within(status, "tls");
    CR_TRY(cr_tls_basis_context(false, &context));
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_cert_verify_callback(context, verify_key, address.key);
    status = cr_stream_start(context, socket, false, address.label, out);
    SSL_CTX_free(context); // the connection keeps a reference; the key is not needed any more
    if (status == CR_OK) socket = -1;
    return status;
}

enum cr_status cr_stream_connect(const char *address, double patience, struct cr_stream *out)
{
    struct cr_stream stream = CR_STREAM_NONE;
    enum cr_status status = says_tls(address) ? connect_tls(address, patience, &stream)
                                              : cr_socket_connect(address, patience, &stream.socket);
    if (status == CR_OK) *out = stream;
    return status;
}

enum cr_status cr_stream_send(struct cr_stream *stream, const void *bytes, size_t size, const char *peer)
{
    if (!stream->tls) return cr_socket_send(stream->socket, bytes, size, peer);
    const unsigned char *at = bytes;
    while (size > 0) {
        size_t put = 0;
        begin_call();
        if (stream->sent >= KEY_LIMIT && SSL_key_update(stream->tls, SSL_KEY_UPDATE_NOT_REQUESTED) == 1)
            stream->sent = 0;
        int result = SSL_write_ex(stream->tls, at, size, &put);
        if (result != 1) CR_TRY(no_bytes(stream, result, peer));
        at += put;
        size -= put;
        stream->sent += put;
    }
    return CR_OK;
}

enum cr_status cr_stream_receive(struct cr_stream *stream, void *bytes, size_t size, const char *peer)
{
    if (!stream->tls) return cr_socket_receive(stream->socket, bytes, size, peer);
    unsigned char *at = bytes;
    while (size > 0) {
        size_t got = 0;
        begin_call();
        int result = SSL_read_ex(stream->tls, at, size, &got);
        if (result != 1) CR_TRY(no_bytes(stream, result, peer));
        at += got;
        size -= got;
    }
    return CR_OK;
}

enum cr_status cr_stream_await(struct cr_stream *stream, double patience, const char *peer)
{
    enum { SLICE_MILLISECONDS = 200 };
    struct pollfd socket = {.fd = stream->socket, .events = POLLIN};
    double until = cr_clock_monotonic() + patience;
    if (stream->tls && SSL_has_pending(stream->tls)) return CR_OK;
    while (poll(&socket, 1, SLICE_MILLISECONDS) <= 0) {
        if (cr_stop_asked()) return cr_fail(CR_CANCELLED, "%s: stopped while it was waited for", peer);
        if (cr_clock_monotonic() >= until)
            return cr_fail(CR_TIMEOUT, "%s: no sign of life for as long as was allowed", peer);
    }
    return CR_OK;
}

enum cr_status cr_stream_wait(struct cr_stream *stream, const char *peer, bool *ended)
{
    if (!stream->tls) return cr_socket_wait(stream->socket, peer, ended);
    for (;;) {
        unsigned char byte;
        size_t got;
        begin_call();
        int result = SSL_peek_ex(stream->tls, &byte, 1, &got);
        *ended = result != 1 && has_ended(stream, result);
        if (result == 1 || *ended) return CR_OK;
        enum cr_status status = no_bytes(stream, result, peer);
        if (status != CR_OK && status != CR_TIMEOUT) return status;
    }
}

void cr_stream_release(struct cr_stream *stream)
{
    SSL_free(stream->tls);
    stream->tls = NULL;
    ERR_clear_error();
}
