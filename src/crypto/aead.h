// Authenticated encryption (AES-256-GCM) of data that is stored outside the trusted process.
#ifndef CARREL_CRYPTO_AEAD_H
#define CARREL_CRYPTO_AEAD_H

#include "base/bytes.h"
#include "crypto/keystream.h"

enum { CR_AEAD_TAG_SIZE = 16 };

// Holds one key. An object serves one thread at a time; objects with the same key are interchangeable.
struct cr_aead;
enum cr_status cr_aead_new(const unsigned char key[CR_KEY_SIZE], struct cr_aead **out);
void cr_aead_free(struct cr_aead *aead); // wipes the key; NULL is allowed

// Encrypts `size` bytes and writes size + CR_AEAD_TAG_SIZE bytes to `out`. The nonce is `number` as 12 bytes,
// big-endian; the caller must use each number once per key. `bound` (may be empty) is additional
// authenticated data: it is not written, but must be the same when opened. `out` must not overlap `bytes`.
enum cr_status cr_aead_seal(struct cr_aead *aead, uint64_t number, struct cr_slice bound, const void *bytes,
                            size_t size, void *out);

// The inverse of cr_aead_seal: decrypts size + CR_AEAD_TAG_SIZE bytes to `size` bytes at `out`. CR_DENIED,
// and `out` is wiped, if any bit, the number or `bound` differs. `sealed` is read more than once: copy it
// first if others may write to it meanwhile.
enum cr_status cr_aead_open(struct cr_aead *aead, uint64_t number, struct cr_slice bound, const void *sealed,
                            size_t size, void *out);

#endif
