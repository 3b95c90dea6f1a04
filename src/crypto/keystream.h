// Secret pseudorandom streams with random access, from which one-time pads are taken.
#ifndef CARREL_CRYPTO_KEYSTREAM_H
#define CARREL_CRYPTO_KEYSTREAM_H

#include "base/memory.h"

#include <stdbool.h>
#include <stdint.h>

enum { CR_KEY_SIZE = 32 };

// Derives a key for one purpose from a root key: HKDF-SHA-256(root, label). Different labels give independent
// keys.
enum cr_status cr_key_derive(const unsigned char root[CR_KEY_SIZE], const char *label,
                             unsigned char out[CR_KEY_SIZE]);

// Compares in constant time.
bool cr_keys_equal(const unsigned char a[CR_KEY_SIZE], const unsigned char b[CR_KEY_SIZE]);

// 2^64 streams under one key, each of 2^68 bytes: AES-256-CTR; the counter block is the stream's number
// followed by the block's number, both big-endian. An object serves one thread at a time; objects with the
// same key give the same streams.
struct cr_keystream;
enum cr_status cr_keystream_new(const unsigned char key[CR_KEY_SIZE], struct cr_keystream **out);
void cr_keystream_free(struct cr_keystream *keystream); // wipes the key; NULL is allowed

// The number of bytes of a stream that make one word of `bits` bits, at most 31.
static inline size_t cr_keystream_word_size(unsigned bits)
{
    return bits > 24 ? 4 : 3;
}

// Reads `count` consecutive words of the stream, starting at its 16-byte block number `block`; each word is
// little-endian and cut to its lowest `bits` bits. Returns whether all words are below `limit`, which is at
// most 2^bits.
bool cr_keystream_words(struct cr_keystream *keystream, uint64_t stream, uint64_t block, unsigned bits,
                        uint32_t limit, uint32_t *words, size_t count);

#endif
