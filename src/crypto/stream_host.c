// TLS listeners; a separate file, so that programs that only connect do not contain it.
#include "crypto/stream.h"

#include "base/clock.h"
#include "crypto/certificate.h"
#include "crypto/identity.h"
#include "crypto/openssl.h"
#include "crypto/tls_basis.h"

#include <openssl/ssl.h>
#include <stdlib.h>

struct cr_stream_host {
    SSL_CTX *context;
    char key[CR_STREAM_KEY_SIZE];
};

static enum cr_status prepare(struct cr_stream_host *host, const struct cr_identity *identity)
{
    void *context;
    X509 *certificate;
    unsigned char digest[CR_SHA256_SIZE];
    EVP_PKEY *key = cr_identity_key(identity);
    CR_TRY(cr_tls_basis_context(true, &context));
    host->context = context;
    CR_TRY(cr_certificate_make_bare(key, "carrel-accelerator", cr_clock_unix(), &certificate));
    enum cr_status status = cr_certificate_key_digest(certificate, digest);
    if (status == CR_OK &&
        (SSL_CTX_use_certificate(context, certificate) != 1 || SSL_CTX_use_PrivateKey(context, key) != 1))
        status = cr_openssl_fail(CR_INTERNAL, "TLS: own certificate");
    X509_free(certificate);
    CR_TRY(status);
    cr_hex_encode((struct cr_slice){digest, sizeof digest}, host->key);
    return CR_OK;
}

enum cr_status cr_stream_host_new(const char *directory, struct cr_stream_host **out)
{
    CR_CLEANUP(cr_identity_release) struct cr_identity *identity = NULL;
    struct cr_stream_host *host;
    CR_TRY(cr_identity_load_or_make(directory, &identity));
    CR_TRY(cr_allocate(1, sizeof *host, &host));
    enum cr_status status = prepare(host, identity);
    if (status == CR_OK)
        *out = host;
    else
        cr_stream_host_free(host);
    return status;
}

void cr_stream_host_free(struct cr_stream_host *host)
{
    if (!host) return;
    SSL_CTX_free(host->context);
    free(host);
}

const char *cr_stream_host_key(const struct cr_stream_host *host)
{
    return host->key;
}

enum cr_status cr_stream_accept(struct cr_stream_host *host, int socket, const char *peer,
                                struct cr_stream *out)
{
    return cr_stream_start(host->context, socket, true, peer, out);
}
