// Making and checking the certificates behind crypto/identity.h; not for other layers.
#ifndef CARREL_CRYPTO_CERTIFICATE_H
#define CARREL_CRYPTO_CERTIFICATE_H

#include "base/bytes.h"

#include <openssl/x509.h>

static inline void cr_certificate_release(X509 **certificate) // for CR_CLEANUP
{
    X509_free(*certificate);
}

bool cr_certificate_is_p256(const EVP_PKEY *key);

// Decodes one certificate with nothing after it; `what` begins the error message.
enum cr_status cr_certificate_decode(struct cr_slice der, const char *what, X509 **out);

// A self-signed CA that can issue members and no further CAs, for ten years.
enum cr_status cr_certificate_make_authority(EVP_PKEY *key, const char *name, int64_t now, X509 **out);

// Issues a member's certificate for its request, valid for two years but no longer than the CA's.
enum cr_status cr_certificate_make_member(EVP_PKEY *authority_key, X509 *authority,
                                          struct cr_slice request_der, const char *name, const char *role,
                                          int64_t now, X509 **out);

// A self-signed certificate that belongs to no federation: the form in which TLS presents a key to a peer
// that knows it.
enum cr_status cr_certificate_make_bare(EVP_PKEY *key, const char *name, int64_t now, X509 **out);

// Checks that `certificate` is for `key`, and that `authority` is a carrel CA that issued it (or is the same
// certificate). Validity in time is not checked: the handshake does that, and its message tells a member that
// its certificate has expired.
enum cr_status cr_certificate_check(const EVP_PKEY *key, X509 *certificate, X509 *authority);

#endif
