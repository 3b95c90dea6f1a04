// What a pool is made of, shared by the files of crypto/; not for other layers.
#ifndef CARREL_CRYPTO_POOL_H
#define CARREL_CRYPTO_POOL_H

#include "crypto/x509.h"

#include <openssl/x509.h>

struct cr_x509_pool {
    STACK_OF(X509) * certificates;
    STACK_OF(X509_CRL) * lists;
};

// A struct cr_x509 is an X509 under another name. OpenSSL fills caches in it as it is used.
static inline X509 *cr_x509_of(const struct cr_x509 *certificate)
{
    return (X509 *)(uintptr_t)certificate;
}

bool cr_x509_time(const ASN1_TIME *time, int64_t *out); // false where it is malformed

// The subject's one field of this kind in UTF-8; false where there is none, or two, or one that does not fit
// or has a zero byte.
bool cr_x509_subject_field(const X509 *certificate, int nid, char *out, size_t room);

#endif
