// Signatures by other people's keys, as evidence carries them: ECDSA on P-256, and RSA.
#ifndef CARREL_CRYPTO_SIGNATURE_H
#define CARREL_CRYPTO_SIGNATURE_H

#include "base/bytes.h"

// A signature over `message`, with SHA-256. The key is a point x ‖ y and the signature r ‖ s, each number
// big-endian in 32 bytes. CR_DENIED where it does not verify, whatever the reason; a point that is not on the
// curve and numbers out of range among them.
enum cr_status cr_ecdsa_verify(struct cr_slice point, struct cr_slice message, struct cr_slice signature);

// Appends the key in PEM, for other programs. CR_DENIED where the point is not on the curve.
enum cr_status cr_ecdsa_key_pem(struct cr_slice point, struct cr_buffer *out);

// RSA PKCS #1 v1.5 with SHA-256; modulus and exponent big-endian. CR_DENIED where it does not verify, and
// where the modulus is shorter than 2048 bits or longer than 8192.
enum cr_status cr_rsa_verify(struct cr_slice modulus, struct cr_slice exponent, struct cr_slice message,
                             struct cr_slice signature);

#endif
