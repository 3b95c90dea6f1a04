// Certificates and revocation lists of public-key infrastructures of others: Intel's, AMD's, a TPM's.
//
// They are kept in pools. A pool's content is not trusted by itself: crypto/chain.h searches it for a chain
// from a certificate to a root whose key the caller knows.
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

// Adds what the bytes contain: certificates and CRLs in PEM, with or without other text around them, or a
// single certificate or CRL in DER with nothing after it. Adds their number, including those already in the
// pool, to *found. Bytes that are neither, and PEM after binary data, add nothing; a broken PEM block ends
// the reading. A full pool is CR_INVALID.
enum cr_status cr_x509_pool_add(struct cr_x509_pool *pool, struct cr_slice bytes, size_t *found);

size_t cr_x509_pool_count(const struct cr_x509_pool *pool); // certificates, in the order of adding
const struct cr_x509 *cr_x509_pool_at(const struct cr_x509_pool *pool, size_t i);

// Sets *out to the content of the extension with this dotted OID; false if there is none. Borrowed.
bool cr_x509_extension(const struct cr_x509 *certificate, const char *oid, struct cr_slice *out);

// The subject's common name in UTF-8; "" if it has none or more than one, or if it does not fit or has
// control characters.
enum { CR_X509_NAME_SIZE = 96 };
void cr_x509_common_name(const struct cr_x509 *certificate, char out[CR_X509_NAME_SIZE]);

// The start and end of its validity, in seconds since 1970.
enum cr_status cr_x509_validity(const struct cr_x509 *certificate, int64_t *begins, int64_t *ends);

// Append the DER of the certificate, or of its key (SubjectPublicKeyInfo).
enum cr_status cr_x509_append_der(const struct cr_x509 *certificate, struct cr_buffer *out);
enum cr_status cr_x509_append_key(const struct cr_x509 *certificate, struct cr_buffer *out);

// CR_DENIED if the certificate names itself as issuer but is not signed by its own key; signatures of other
// issuers are checked by crypto/chain.h.
enum cr_status cr_x509_check_own_signature(const struct cr_x509 *certificate);

// Verifies a signature by the certificate's key (crypto/signature.h): r ‖ s for P-256 (SHA-256) or P-384
// (SHA-384), PKCS #1 v1.5 with SHA-256 for RSA.
enum cr_status cr_x509_verify(const struct cr_x509 *certificate, struct cr_slice message,
                              struct cr_slice signature);

#endif
