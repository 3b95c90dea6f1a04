// Verifies signatures by OpenSSL keys; shared by the files of crypto/, not for other layers.
#ifndef CARREL_CRYPTO_VERIFY_H
#define CARREL_CRYPTO_VERIFY_H

#include "crypto/signature.h"

#include <openssl/evp.h>

// Makes a P-256 public key from its SEC 1 encoding. CR_DENIED, with the message of a signature that does not
// verify, if it is not a point on the curve. Free with EVP_PKEY_free.
enum cr_status cr_ecdsa_key(struct cr_slice encoded, EVP_PKEY **out);

// As cr_ecdsa_verify, with a key that must be on this curve; P-384 uses SHA-384 and numbers of 48 bytes.
enum cr_curve { CR_P256, CR_P384 };
enum cr_status cr_ecdsa_verify_by(EVP_PKEY *key, enum cr_curve curve, struct cr_slice message,
                                  struct cr_slice signature);

// As cr_rsa_verify, with a key that must be an RSA key.
enum cr_status cr_rsa_verify_by(EVP_PKEY *key, struct cr_slice message, struct cr_slice signature);

#endif
