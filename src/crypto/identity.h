// Keys and X.509 certificates of a federation: the server keeps a CA, and each member has a certificate.
//
// Keys are ECDSA P-256. PEM texts are zero-terminated. A private key exists only in a struct cr_identity and
// in a file that is sealed or has mode 0600; error messages never contain it.
#ifndef CARREL_CRYPTO_IDENTITY_H
#define CARREL_CRYPTO_IDENTITY_H

#include "base/bytes.h"
#include "crypto/hash.h"
#include "crypto/seal.h"

#include <stdint.h>

// A private key and, once issued, its certificate and the CA's certificate.
struct cr_identity;

// A new key without a certificate.
enum cr_status cr_identity_new(struct cr_identity **out);
void cr_identity_free(struct cr_identity *identity);     // wipes the key; NULL is allowed
void cr_identity_release(struct cr_identity **identity); // for CR_CLEANUP

// A new CA: key and self-signed certificate. `name` becomes the common name.
enum cr_status cr_identity_new_authority(const char *name, int64_t now, struct cr_identity **out);

// Appends a certificate request (PKCS #10, DER) for the identity's key. Its subject is empty; the issuer
// chooses the name.
enum cr_status cr_identity_request(const struct cr_identity *identity, struct cr_buffer *der);

// Issues a certificate for a request whose self-signature verifies, and appends it as DER. name: 1 to 63 of
// [a-z0-9-]; role: "server" or "silo", which becomes the organisational unit and decides on the key usages.
enum cr_status cr_identity_issue(const struct cr_identity *authority, struct cr_slice request_der,
                                 const char *name, const char *role, int64_t now,
                                 struct cr_buffer *certificate_der);

// Installs the certificate for the identity's own key, and its CA's, after checking that the three belong
// together.
enum cr_status cr_identity_install(struct cr_identity *identity, struct cr_slice certificate_der,
                                   struct cr_slice authority_der);

// True if the certificate has expired at `time` (Unix), or there is none.
bool cr_identity_expired(const struct cr_identity *identity, int64_t time);

// The public key as a point x ‖ y, and signatures r ‖ s with the key, as cr_ecdsa_verify takes them for
// P-256.
enum { CR_IDENTITY_POINT_SIZE = 64, CR_IDENTITY_SIGNATURE_SIZE = 64 };
enum cr_status cr_identity_point(const struct cr_identity *identity,
                                 unsigned char out[CR_IDENTITY_POINT_SIZE]);
// The key's fingerprint: SHA-256 of the public key (SubjectPublicKeyInfo, DER), of a point or of the
// identity's key.
enum cr_status cr_identity_point_digest(const unsigned char point[CR_IDENTITY_POINT_SIZE],
                                        unsigned char out[CR_SHA256_SIZE]);
enum cr_status cr_identity_key_digest(const struct cr_identity *identity, unsigned char out[CR_SHA256_SIZE]);
enum cr_status cr_identity_sign(const struct cr_identity *identity, struct cr_slice message,
                                unsigned char out[CR_IDENTITY_SIGNATURE_SIZE]);

// Save and load: the key as directory/key.sealed or, if `sealing` is NULL, unencrypted as key.pem (0600), and
// beside it certificate.pem and authority.pem, if there are certificates.
enum cr_status cr_identity_save(const struct cr_identity *identity, const char *directory,
                                const struct cr_sealing *sealing);
enum cr_status cr_identity_load(const char *directory, const struct cr_sealing *sealing,
                                struct cr_identity **out);

// Whether the directory holds a key: a sealed one or, if `sealing` is NULL, an unencrypted one.
bool cr_identity_is_kept(const char *directory, const struct cr_sealing *sealing);

// Replaces an unencrypted key in the directory by a sealed one; does nothing if there is no unencrypted key.
enum cr_status cr_identity_seal(const char *directory, const struct cr_sealing *sealing);

// Loads the unencrypted identity in the directory, or makes a new key and stores it there; CR_INVALID if the
// key there is sealed.
enum cr_status cr_identity_load_or_make(const char *directory, struct cr_identity **out);

// SHA-256 of the CA's certificate in DER, which a join token carries.
enum cr_status cr_identity_fingerprint(const struct cr_identity *identity, unsigned char out[CR_SHA256_SIZE]);

// The same of the CA's certificate in the directory, without loading a key; CR_NOT_FOUND if there is none.
enum cr_status cr_identity_read_fingerprint(const char *directory, unsigned char out[CR_SHA256_SIZE]);
// Whether the member's certificate in the directory has expired at `time` (Unix); loads no key either.
enum cr_status cr_identity_read_expired(const char *directory, int64_t time, bool *out);
enum cr_status cr_identity_authority_der(const struct cr_identity *identity, struct cr_buffer *out);

// For channel/, which passes them to libssl: EVP_PKEY *, X509 * of the certificate and X509 * of the CA.
// Borrowed.
void *cr_identity_key(const struct cr_identity *identity);
void *cr_identity_certificate(const struct cr_identity *identity); // NULL if none is installed
void *cr_identity_authority(const struct cr_identity *identity);   // NULL if none is installed

// Name and role out of a verified peer certificate (X509 *). Buffers of CR_NAME_SIZE.
enum { CR_NAME_SIZE = 64 };
bool cr_certificate_is_name(const char *name); // 1 to 63 of a-z, 0-9 and -
enum cr_status cr_certificate_subject(const void *x509, char name[CR_NAME_SIZE], char role[CR_NAME_SIZE]);

// CR_DENIED, with the dates of its validity, if a certificate (X509 *) is not valid at `time` by this
// machine's clock.
enum cr_status cr_certificate_check_time(const void *x509, int64_t time);

// SHA-256 of the public key (SubjectPublicKeyInfo, DER) of a certificate, given as X509 * or in DER.
enum cr_status cr_certificate_key_digest(const void *x509, unsigned char out[CR_SHA256_SIZE]);
enum cr_status cr_certificate_der_key_digest(struct cr_slice der, unsigned char out[CR_SHA256_SIZE]);

#endif
