// Authenticated encryption of what lies outside the trusted process: AES-256-GCM.
#ifndef CARREL_CRYPTO_AEAD_H
#define CARREL_CRYPTO_AEAD_H

#include "base/bytes.h"
#include "crypto/keystream.h"

enum { CR_AEAD_TAG_SIZE = 16 };

// One key. One object serves one thread; several over one key agree.
struct cr_aead;
enum cr_status cr_aead_new(const unsigned char key[CR_KEY_SIZE], struct cr_aead **out);
void cr_aead_free(struct cr_aead *aead); // wipes the key; NULL is allowed

// Encrypts `size` bytes under the nonce (`number` as 12 bytes, big-endian, which a key may see once; the
// caller's duty) and writes size + CR_AEAD_TAG_SIZE bytes to `out`. `bound` (may be empty) is not written but
// must be the same when opened. `out` may not overlap `bytes`.
enum cr_status cr_aead_seal(struct cr_aead *aead, uint64_t number, struct cr_slice bound, const void *bytes,
                            size_t size, void *out);

// The way back: `size` bytes to `out` from size + CR_AEAD_TAG_SIZE. CR_DENIED where a bit, the number or
// what was bound differs; `out` is wiped then. `sealed` is read more than once: copy it first where others
// may write to it meanwhile.
enum cr_status cr_aead_open(struct cr_aead *aead, uint64_t number, struct cr_slice bound, const void *sealed,
                            size_t size, void *out);

#endif
