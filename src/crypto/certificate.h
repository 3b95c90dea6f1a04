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

// One certificate and nothing after it; `what` begins the error message.
enum cr_status cr_certificate_decode(struct cr_slice der, const char *what, X509 **out);

// A self-signed CA that can issue members and no further CAs, for ten years.
enum cr_status cr_certificate_make_authority(EVP_PKEY *key, const char *name, int64_t now, X509 **out);

// A member's certificate over its request, for two years but no longer than the CA's.
enum cr_status cr_certificate_make_member(EVP_PKEY *authority_key, X509 *authority,
                                          struct cr_slice request_der, const char *name, const char *role,
                                          int64_t now, X509 **out);

// A self-signed one of no federation, for a peer that knows the key: what TLS shows a key in.
enum cr_status cr_certificate_make_bare(EVP_PKEY *key, const char *name, int64_t now, X509 **out);

// `certificate` is for `key`, and `authority` is a CA of ours that issued it (or is it). Time is not looked
// at: a member whose certificate has run out should hear so from the handshake, which knows the time.
enum cr_status cr_certificate_check(const EVP_PKEY *key, X509 *certificate, X509 *authority);

#endif
