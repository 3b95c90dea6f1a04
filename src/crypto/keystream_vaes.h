// AES-256-CTR with the vector instructions of AVX-512 and VAES, four blocks per instruction. OpenSSL is the
// reference: keystream.c compares the two before it uses this. Not for other layers.
#ifndef CARREL_CRYPTO_KEYSTREAM_VAES_H
#define CARREL_CRYPTO_KEYSTREAM_VAES_H

#include "crypto/keystream.h"

#include <stdbool.h>

enum { CR_VAES_KEYS = 15, CR_VAES_KEYS_SIZE = CR_VAES_KEYS * 16 }; // round keys

// Whether this processor has the instructions that the functions below need.
bool cr_vaes_is_here(void);

// Expands the key into the round keys.
void cr_vaes_expand(const unsigned char key[CR_KEY_SIZE], unsigned char keys[CR_VAES_KEYS_SIZE]);

// As cr_keystream_words, in constant time: it does not depend on the key or the stream.
bool cr_vaes_words(const unsigned char keys[CR_VAES_KEYS_SIZE], uint64_t stream, uint64_t block,
                   unsigned bits, uint32_t limit, uint32_t *words, size_t count);

#endif
