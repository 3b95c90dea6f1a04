// Verifies signatures by keys of others, as in evidence: ECDSA on P-256, and RSA.
#ifndef CARREL_CRYPTO_SIGNATURE_H
#define CARREL_CRYPTO_SIGNATURE_H

#include "base/bytes.h"

// Verifies an ECDSA signature over `message` with SHA-256. The key is a point x ‖ y and the signature r ‖ s,
// each number big-endian in 32 bytes. CR_DENIED if it does not verify for any reason, such as a point that is
// not on the curve or numbers out of range.
enum cr_status cr_ecdsa_verify(struct cr_slice point, struct cr_slice message, struct cr_slice signature);

// Appends the key in PEM, for other programs. CR_DENIED if the point is not on the curve.
enum cr_status cr_ecdsa_key_pem(struct cr_slice point, struct cr_buffer *out);

// Verifies RSA PKCS #1 v1.5 with SHA-256; modulus and exponent are big-endian. CR_DENIED if it does not
// verify, or if the modulus is not of 2048 to 8192 bits.
enum cr_status cr_rsa_verify(struct cr_slice modulus, struct cr_slice exponent, struct cr_slice message,
                             struct cr_slice signature);

#endif
