// Keys and X.509 certificates of a federation: a CA that the server keeps, one certificate per member.
//
// Keys are ECDSA P-256. PEM texts are zero-terminated. A private key lives in a struct cr_identity or in a
// file of mode 0600, nowhere else; it never stands in an error message.
#ifndef CARREL_CRYPTO_IDENTITY_H
#define CARREL_CRYPTO_IDENTITY_H

#include "base/bytes.h"
#include "crypto/hash.h"
#include "crypto/seal.h"

#include <stdint.h>

// A private key and, once issued, its certificate and the CA's.
struct cr_identity;

// A new key without a certificate.
enum cr_status cr_identity_new(struct cr_identity **out);
void cr_identity_free(struct cr_identity *identity);     // wipes the key; NULL is allowed
void cr_identity_release(struct cr_identity **identity); // for CR_CLEANUP

// A new CA: key and self-signed certificate. `name` becomes the common name.
enum cr_status cr_identity_new_authority(const char *name, int64_t now, struct cr_identity **out);

// A certificate request (PKCS #10, DER) for the identity's key; the subject is ignored by the issuer.
enum cr_status cr_identity_request(const struct cr_identity *identity, struct cr_buffer *der);

// Issues a certificate over a request whose self-signature verifies. name: 1 to 63 of [a-z0-9-]; role:
// "server" or "silo" (stands as organisational unit; the key usages follow it). Appends the certificate as
// DER.
enum cr_status cr_identity_issue(const struct cr_identity *authority, struct cr_slice request_der,
                                 const char *name, const char *role, int64_t now,
                                 struct cr_buffer *certificate_der);

// Takes the certificate for the identity's own key, and its CA's, after checking both against each other.
enum cr_status cr_identity_install(struct cr_identity *identity, struct cr_slice certificate_der,
                                   struct cr_slice authority_der);

// True where the certificate is not good any more at `time`, or there is none.
bool cr_identity_expired(const struct cr_identity *identity, int64_t time);

// The key's point x ‖ y, and a signature r ‖ s by it: what cr_ecdsa_verify takes for P-256.
enum { CR_IDENTITY_POINT_SIZE = 64, CR_IDENTITY_SIGNATURE_SIZE = 64 };
enum cr_status cr_identity_point(const struct cr_identity *identity,
                                 unsigned char out[CR_IDENTITY_POINT_SIZE]);
// SHA-256 of the public key (SubjectPublicKeyInfo, DER) that is the point: the key's fingerprint.
enum cr_status cr_identity_point_digest(const unsigned char point[CR_IDENTITY_POINT_SIZE],
                                        unsigned char out[CR_SHA256_SIZE]);
enum cr_status cr_identity_key_digest(const struct cr_identity *identity, unsigned char out[CR_SHA256_SIZE]);
enum cr_status cr_identity_sign(const struct cr_identity *identity, struct cr_slice message,
                                unsigned char out[CR_IDENTITY_SIGNATURE_SIZE]);

// The key as directory/key.sealed or, where `sealing` is NULL, in the clear as key.pem (0600);
// certificate.pem and authority.pem beside it.
enum cr_status cr_identity_save(const struct cr_identity *identity, const char *directory,
                                const struct cr_sealing *sealing);
enum cr_status cr_identity_load(const char *directory, const struct cr_sealing *sealing,
                                struct cr_identity **out);

// Whether the directory holds a key of that kind.
bool cr_identity_is_kept(const char *directory, const struct cr_sealing *sealing);

// Seals a key that lies there in the clear, whose file goes; does nothing where none does.
enum cr_status cr_identity_seal(const char *directory, const struct cr_sealing *sealing);

// What lies in the directory in the clear, or a new key, which is put there; CR_INVALID where it holds a
// sealed one.
enum cr_status cr_identity_load_or_make(const char *directory, struct cr_identity **out);

// SHA-256 over the DER of the CA's certificate: what a join token carries.
enum cr_status cr_identity_fingerprint(const struct cr_identity *identity, unsigned char out[CR_SHA256_SIZE]);

// The same of the CA's certificate that lies in the directory, whose key it does not take; CR_NOT_FOUND where
// none does.
enum cr_status cr_identity_read_fingerprint(const char *directory, unsigned char out[CR_SHA256_SIZE]);
// Whether the certificate of its own that lies there has run out at `time` (Unix); takes no key either.
enum cr_status cr_identity_read_expired(const char *directory, int64_t time, bool *out);
enum cr_status cr_identity_authority_der(const struct cr_identity *identity, struct cr_buffer *out);

// For channel/, which hands them to libssl: EVP_PKEY *, X509 * of the certificate and of the CA. Borrowed.
void *cr_identity_key(const struct cr_identity *identity);
void *cr_identity_certificate(const struct cr_identity *identity); // NULL where none is installed
void *cr_identity_authority(const struct cr_identity *identity);   // NULL where none is installed

// Name and role out of a verified peer certificate (X509 *). Buffers of CR_NAME_SIZE.
enum { CR_NAME_SIZE = 64 };
bool cr_certificate_is_name(const char *name); // 1 to 63 of a-z, 0-9 and -
enum cr_status cr_certificate_subject(const void *x509, char name[CR_NAME_SIZE], char role[CR_NAME_SIZE]);

// CR_DENIED, with both ends of its validity, for a certificate (X509 *) that is not good at `time`, this
// machine's.
enum cr_status cr_certificate_check_time(const void *x509, int64_t time);

// SHA-256 of the public key (SubjectPublicKeyInfo, DER) of a certificate (X509 *; in DER).
enum cr_status cr_certificate_key_digest(const void *x509, unsigned char out[CR_SHA256_SIZE]);
enum cr_status cr_certificate_der_key_digest(struct cr_slice der, unsigned char out[CR_SHA256_SIZE]);

#endif
