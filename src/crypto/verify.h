// Signatures by keys of OpenSSL's, shared by the files of crypto/; not for other layers.
#ifndef CARREL_CRYPTO_VERIFY_H
#define CARREL_CRYPTO_VERIFY_H

#include "crypto/signature.h"

#include <openssl/evp.h>

// A public key on P-256 of its SEC 1 encoding. CR_DENIED, as for a signature, where no point has that one.
// Free with EVP_PKEY_free.
enum cr_status cr_ecdsa_key(struct cr_slice encoded, EVP_PKEY **out);

// As cr_ecdsa_verify, by a key that is known to be of the curve; P-384 goes with SHA-384, and 48 bytes.
enum cr_curve { CR_P256, CR_P384 };
enum cr_status cr_ecdsa_verify_by(EVP_PKEY *key, enum cr_curve curve, struct cr_slice message,
                                  struct cr_slice signature);

// As cr_rsa_verify, by a key that is known to be of RSA.
enum cr_status cr_rsa_verify_by(EVP_PKEY *key, struct cr_slice message, struct cr_slice signature);

#endif
