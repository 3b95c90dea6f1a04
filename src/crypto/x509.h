// Certificates and revocation lists of other people's public-key infrastructures: Intel's, AMD's, a TPM's.
//
// They are kept in pools. Nothing in a pool is vouched for: crypto/chain.h looks for a way from one
// certificate of it to a root that the caller knows by its key.
#ifndef CARREL_CRYPTO_X509_H
#define CARREL_CRYPTO_X509_H

#include "base/bytes.h"
#include "crypto/hash.h"

#include <stdint.h>

struct cr_x509; // one certificate; lives as long as its pool

struct cr_x509_pool;
enum cr_status cr_x509_pool_new(struct cr_x509_pool **out);
void cr_x509_pool_free(struct cr_x509_pool *pool);     // NULL is allowed
void cr_x509_pool_release(struct cr_x509_pool **pool); // frees *pool and sets it to NULL; for CR_CLEANUP

// Takes what the bytes hold: certificates and CRLs in PEM, other text around them or not, or one of either in
// DER and nothing after it. Adds the number found to *found. Bytes that are neither, or PEM that binary data
// stands before, add nothing; a broken block of PEM ends the reading. What is in the pool already is found,
// but kept once. A full pool is CR_INVALID.
enum cr_status cr_x509_pool_add(struct cr_x509_pool *pool, struct cr_slice bytes, size_t *found);

size_t cr_x509_pool_count(const struct cr_x509_pool *pool); // certificates, in the order of their coming
const struct cr_x509 *cr_x509_pool_at(const struct cr_x509_pool *pool, size_t i);

// The content of the extension with this dotted OID; false where there is none.
bool cr_x509_extension(const struct cr_x509 *certificate, const char *oid, struct cr_slice *out);

// The subject's one common name in UTF-8; "" where there is none, or two, or one that does not fit
// or has control characters.
enum { CR_X509_NAME_SIZE = 96 };
void cr_x509_common_name(const struct cr_x509 *certificate, char out[CR_X509_NAME_SIZE]);

// When it begins and ends to be good, in seconds since 1970.
enum cr_status cr_x509_validity(const struct cr_x509 *certificate, int64_t *begins, int64_t *ends);

// Appends the DER of the certificate, and of its key (SubjectPublicKeyInfo).
enum cr_status cr_x509_append_der(const struct cr_x509 *certificate, struct cr_buffer *out);
enum cr_status cr_x509_append_key(const struct cr_x509 *certificate, struct cr_buffer *out);

// CR_DENIED where a certificate whose issuer is its own subject has not signed itself; another issuer's
// signature is crypto/chain.h's matter.
enum cr_status cr_x509_check_own_signature(const struct cr_x509 *certificate);

// A signature by the certificate's key (crypto/signature.h): r ‖ s where it is on P-256 (SHA-256) or P-384
// (SHA-384), PKCS #1 v1.5 with SHA-256 where it is of RSA.
enum cr_status cr_x509_verify(const struct cr_x509 *certificate, struct cr_slice message,
                              struct cr_slice signature);

#endif
