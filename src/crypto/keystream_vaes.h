// AES-256-CTR by the vector instructions of AVX-512 with VAES, four blocks each. OpenSSL's is the reference;
// see keystream.c, which tries one against the other. Not for other layers.
#ifndef CARREL_CRYPTO_KEYSTREAM_VAES_H
#define CARREL_CRYPTO_KEYSTREAM_VAES_H

#include "crypto/keystream.h"

#include <stdbool.h>

enum { CR_VAES_KEYS = 15, CR_VAES_KEYS_SIZE = CR_VAES_KEYS * 16 }; // of rounds

// Whether this processor has what the others below need.
bool cr_vaes_is_here(void);

// The keys of the rounds.
void cr_vaes_expand(const unsigned char key[CR_KEY_SIZE], unsigned char keys[CR_VAES_KEYS_SIZE]);

// As cr_keystream_words. Takes the same time whatever key and stream are.
bool cr_vaes_words(const unsigned char keys[CR_VAES_KEYS_SIZE], uint64_t stream, uint64_t block,
                   unsigned bits, uint32_t limit, uint32_t *words, size_t count);

#endif
