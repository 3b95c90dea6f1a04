// The content of a pool, shared by the files of crypto/; not for other layers.
#ifndef CARREL_CRYPTO_POOL_H
#define CARREL_CRYPTO_POOL_H

#include "crypto/x509.h"

#include <openssl/x509.h>

struct cr_x509_pool {
    STACK_OF(X509) * certificates;
    STACK_OF(X509_CRL) * lists;
};

// A struct cr_x509 is an X509 under another name. Not const, since OpenSSL fills caches in it.
static inline X509 *cr_x509_of(const struct cr_x509 *certificate)
{
    return (X509 *)(uintptr_t)certificate;
}

bool cr_x509_time(const ASN1_TIME *time, int64_t *out); // false if it is malformed

// The only field of this kind in the subject, in UTF-8; false if there is none or more than one, or if it
// does not fit or contains a zero byte.
bool cr_x509_subject_field(const X509 *certificate, int nid, char *out, size_t room);

#endif
