#include "channel/tls.h"

#include "base/clock.h"
#include "crypto/tls_basis.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509_vfy.h>
#include <stdlib.h>
#include <string.h>

struct cr_tls {
    SSL_CTX *context;
    bool server, member; // neither: a newcomer
    const struct cr_admission *admission;
    unsigned char fingerprint[CR_SHA256_SIZE];
};

static enum cr_status failed(const char *what)
{
    unsigned long code = ERR_peek_last_error();
    const char *reason = code ? ERR_reason_error_string(code) : NULL;
    ERR_clear_error();
    return cr_fail(CR_INTERNAL, "TLS: %s: %s", what, reason ? reason : "no reason given");
}

static enum cr_status use_identity(SSL_CTX *context, const struct cr_identity *identity)
{
    X509 *authority = cr_identity_authority(identity);
    X509 *certificate = cr_identity_certificate(identity);
    if (!authority || !certificate) return cr_fail(CR_INTERNAL, "TLS: the identity has no certificate yet");
    if (SSL_CTX_use_certificate(context, certificate) != 1 ||
        SSL_CTX_use_PrivateKey(context, cr_identity_key(identity)) != 1 ||
        SSL_CTX_check_private_key(context) != 1)
        return failed("own certificate");
    // The CA's certificate is sent too, so that a newcomer, who knows only its fingerprint, can verify the
    // chain.
    if (SSL_CTX_add1_chain_cert(context, authority) != 1) return failed("chain");
    if (X509_STORE_add_cert(SSL_CTX_get_cert_store(context), authority) != 1)
        return failed("certificate authority");
    return CR_OK;
}

static enum cr_status new_tls(bool server, const struct cr_identity *identity, struct cr_tls **out)
{
    struct cr_tls *tls;
    CR_TRY(cr_allocate(1, sizeof *tls, &tls));
    void *context = NULL;
    enum cr_status status = cr_tls_basis_context(server, &context);
    tls->context = context;
    if (status == CR_OK && identity) status = use_identity(tls->context, identity);
    if (status != CR_OK) {
        cr_tls_free(tls);
        return status;
    }
    tls->server = server;
    tls->member = identity && !server;
    SSL_CTX_set_app_data(tls->context, tls);
    SSL_CTX_set_verify(tls->context, SSL_VERIFY_PEER, NULL);
    *out = tls;
    return CR_OK;
}

enum cr_status cr_tls_new_server(const struct cr_identity *identity, struct cr_tls **out)
{
    return new_tls(true, identity, out);
}

enum cr_status cr_tls_new_member(const struct cr_identity *identity, struct cr_tls **out)
{
    return new_tls(false, identity, out);
}

static bool has_fingerprint(X509 *certificate, const unsigned char fingerprint[CR_SHA256_SIZE])
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned size = 0;
    return X509_digest(certificate, EVP_sha256(), digest, &size) == 1 && size == CR_SHA256_SIZE &&
           memcmp(digest, fingerprint, size) == 0;
}

// Verifies `leaf` as a TLS server's certificate with `authority` as the only trust anchor. Returns X509_V_OK
// or the error.
static int verify_under(X509 *leaf, X509 *authority)
{
    X509_STORE *store = X509_STORE_new();
    X509_STORE_CTX *context = X509_STORE_CTX_new();
    int error = X509_V_ERR_OUT_OF_MEM;
    if (store && context && X509_STORE_add_cert(store, authority) == 1 &&
        X509_STORE_CTX_init(context, store, leaf, NULL) == 1 &&
        X509_STORE_CTX_set_default(context, "ssl_server") == 1)
        error = X509_verify_cert(context) == 1 ? X509_V_OK : X509_STORE_CTX_get_error(context);
    X509_STORE_CTX_free(context);
    X509_STORE_free(store);
    return error;
}

// Replaces libssl's verification for a newcomer: the only trust anchor is the CA whose fingerprint the token
// has.
static int verify_pinned(X509_STORE_CTX *context, void *argument)
{
    const struct cr_tls *tls = argument;
    STACK_OF(X509) *chain = X509_STORE_CTX_get0_untrusted(context);
    int error = X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN;
    for (int i = 0; i < sk_X509_num(chain); i++) {
        X509 *authority = sk_X509_value(chain, i);
        if (!has_fingerprint(authority, tls->fingerprint)) continue;
        error = verify_under(X509_STORE_CTX_get0_cert(context), authority);
        break;
    }
    X509_STORE_CTX_set_error(context, error);
    return error == X509_V_OK;
}

enum cr_status cr_tls_new_enrol(const unsigned char fingerprint[CR_SHA256_SIZE], struct cr_tls **out)
{
    struct cr_tls *tls;
    CR_TRY(new_tls(false, NULL, &tls));
    memcpy(tls->fingerprint, fingerprint, CR_SHA256_SIZE);
    SSL_CTX_set_cert_verify_callback(tls->context, verify_pinned, tls);
    *out = tls;
    return CR_OK;
}

void cr_tls_set_admission(struct cr_tls *tls, const struct cr_admission *admission)
{
    tls->admission = admission;
}

const struct cr_admission *cr_tls_admission(const struct cr_tls *tls)
{
    return tls->admission;
}

void cr_tls_free(struct cr_tls *tls)
{
    if (!tls) return;
    SSL_CTX_free(tls->context);
    free(tls);
}

void *cr_tls_context(struct cr_tls *tls)
{
    return tls->context;
}

bool cr_tls_is_server(const struct cr_tls *tls)
{
    return tls->server;
}

static enum cr_status describe(const X509 *certificate, struct cr_peer *out)
{
    CR_TRY(cr_certificate_subject(certificate, out->name, out->role));
    return cr_certificate_key_digest(certificate, out->key);
}

enum cr_status cr_tls_own(const void *ssl, struct cr_peer *out)
{
    struct cr_peer own = {0};
    CR_TRY(describe(SSL_get_certificate(ssl), &own));
    *out = own;
    return CR_OK;
}

enum cr_status cr_tls_export(void *ssl, unsigned char out[CR_TLS_EXPORTER_SIZE])
{
    static const char label[] = "EXPORTER-carrel-attested-channel";
    if (SSL_export_keying_material(ssl, out, CR_TLS_EXPORTER_SIZE, label, sizeof label - 1, NULL, 0, 0) != 1)
        return failed("exporter");
    return CR_OK;
}

enum cr_status cr_tls_peer(const struct cr_tls *tls, const void *ssl, struct cr_peer *out)
{
    struct cr_peer peer = {0};
    X509 *certificate = SSL_get0_peer_certificate(ssl);
    peer.anonymous = certificate == NULL;
    if (peer.anonymous && !tls->server) return cr_fail(CR_DENIED, "the server shows no certificate");
    if (certificate) CR_TRY(describe(certificate, &peer));
    if (!tls->server && strcmp(peer.role, "server") != 0)
        return cr_fail(CR_DENIED, "the peer is \"%s\" with role \"%s\", not the server", peer.name,
                       peer.role);
    *out = peer;
    return CR_OK;
}

// Fails with the reason why a certificate was refused.
static enum cr_status refused(const struct cr_tls *tls, const char *peer, long verified)
{
    char now[CR_CLOCK_TEXT_SIZE];
    const char *reason = X509_verify_cert_error_string(verified);
    if (!tls->server && verified == X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN)
        return cr_fail(CR_DENIED,
                       "%s: the server does not belong to the federation that the join token "
                       "names (its CA is another one)",
                       peer);
    if (verified != X509_V_ERR_CERT_NOT_YET_VALID && verified != X509_V_ERR_CERT_HAS_EXPIRED)
        return cr_fail(CR_DENIED, "%s: its certificate was refused: %s", peer, reason);
    cr_clock_format(cr_clock_unix(), now);
    return cr_fail(CR_DENIED, "%s: its certificate was refused: %s (the clock here says %s)", peer, reason,
                   now);
}

enum cr_status cr_tls_failure(const void *ssl, const char *peer)
{
    const struct cr_tls *tls = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));
    long verified = SSL_get_verify_result(ssl);
    enum cr_status status;
    if (verified == X509_V_OK) {
        status = cr_tls_basis_failure(peer);
    } else {
        ERR_clear_error();
        status = refused(tls, peer, verified);
    }
    return tls->member ? CR_IO : status;
}
