// Key derivation, shared by the files of crypto/; not for other layers.
#ifndef CARREL_CRYPTO_KDF_H
#define CARREL_CRYPTO_KDF_H

#include "base/bytes.h"

// HKDF-SHA-256 (RFC 5869).
enum cr_status cr_hkdf_salted(struct cr_slice material, struct cr_slice salt, struct cr_slice info,
                              unsigned char *out, size_t size);

// The same without salt; `label` is its info.
enum cr_status cr_hkdf(struct cr_slice material, const char *label, unsigned char *out, size_t size);

#endif
