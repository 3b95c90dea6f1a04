#include "crypto/tls_basis.h"

#include "crypto/openssl.h"

#include <openssl/err.h>
#include <openssl/ssl.h>

enum { READ_BUFFER = 65536 }; // bytes: one system call reads four records, instead of two calls for each

enum cr_status cr_tls_basis_context(bool server, void **out)
{
    // The first call into libssl must say that no configuration file is read.
    if (OPENSSL_init_ssl(OPENSSL_INIT_NO_LOAD_CONFIG, NULL) != 1)
        return cr_openssl_fail(CR_INTERNAL, "TLS: initialisation");
    SSL_CTX *context = SSL_CTX_new(server ? TLS_server_method() : TLS_client_method());
    if (!context) return cr_openssl_fail(CR_INTERNAL, "TLS: context");
    SSL_CTX_set_options(context, SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_read_ahead(context, 1);
    SSL_CTX_set_default_read_buffer_len(context, READ_BUFFER);
    SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    if (SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION) != 1 ||
        SSL_CTX_set_max_proto_version(context, TLS1_3_VERSION) != 1 ||
        SSL_CTX_set_ciphersuites(
            context, "TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_GCM_SHA256") != 1 ||
        SSL_CTX_set1_groups_list(context, "X25519:P-256") != 1 || SSL_CTX_set_num_tickets(context, 0) != 1 ||
        SSL_CTX_set_max_early_data(context, 0) != 1 || SSL_CTX_set_recv_max_early_data(context, 0) != 1) {
        SSL_CTX_free(context);
        return cr_openssl_fail(CR_INTERNAL, "TLS: settings");
    }
    SSL_CTX_set_security_level(context, 2);
    *out = context;
    return CR_OK;
}

// The first error of libssl in the error queue, or else the first error; empties the queue. Since OpenSSL 3.2
// it is followed by errors that a record could not be read, and that the peer could not be told.
static unsigned long first_error(void)
{
    unsigned long first = ERR_peek_error();
    for (unsigned long code = ERR_get_error(); code; code = ERR_get_error())
        if (ERR_GET_LIB(code) == ERR_LIB_SSL && ERR_GET_LIB(first) != ERR_LIB_SSL) first = code;
    return first;
}

enum cr_status cr_tls_basis_failure(const char *peer)
{
    unsigned long code = first_error();
    int library = ERR_GET_LIB(code);
    int reason = ERR_GET_REASON(code);
    const char *text = ERR_reason_error_string(code);
    // Bytes changed in transit, detected here or by the peer, are treated like a cut connection: a new one
    // may work.
    if (library == ERR_LIB_SSL && (reason == SSL_R_DECRYPTION_FAILED_OR_BAD_RECORD_MAC ||
                                   reason == SSL_AD_REASON_OFFSET + SSL_AD_BAD_RECORD_MAC))
        return cr_fail(CR_IO, "%s: what was sent was changed on its way", peer);
    if (library == ERR_LIB_SSL && reason >= SSL_AD_REASON_OFFSET && reason < SSL_AD_REASON_OFFSET + 256)
        return cr_fail(CR_DENIED, "%s: the peer refused the connection: %s", peer, text ? text : "an alert");
    if (library == ERR_LIB_SSL && reason == SSL_R_UNEXPECTED_EOF_WHILE_READING)
        return cr_fail(CR_IO, "%s: the connection was cut", peer);
    return cr_fail(CR_PROTOCOL, "%s: TLS: %s", peer, text ? text : "failed");
}
