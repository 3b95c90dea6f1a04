// Secret streams with random access: what one-time pads are cut from.
#ifndef CARREL_CRYPTO_KEYSTREAM_H
#define CARREL_CRYPTO_KEYSTREAM_H

#include "base/memory.h"

#include <stdbool.h>
#include <stdint.h>

enum { CR_KEY_SIZE = 32 };

// The key of a purpose under another: HKDF-SHA-256(root, label). Different labels give independent keys.
enum cr_status cr_key_derive(const unsigned char root[CR_KEY_SIZE], const char *label,
                             unsigned char out[CR_KEY_SIZE]);

// In a time that does not depend on where they differ.
bool cr_keys_equal(const unsigned char a[CR_KEY_SIZE], const unsigned char b[CR_KEY_SIZE]);

// 2^64 streams under one key, each of 2^68 bytes: AES-256-CTR whose counter block is the stream's number and
// the block's, both big-endian. One object serves one thread; several over one key agree.
struct cr_keystream;
enum cr_status cr_keystream_new(const unsigned char key[CR_KEY_SIZE], struct cr_keystream **out);
void cr_keystream_free(struct cr_keystream *keystream); // wipes the key; NULL is allowed

// Bytes of a stream that a word of so many bits takes, 31 at most.
static inline size_t cr_keystream_word_size(unsigned bits)
{
    return bits > 24 ? 4 : 3;
}

// `count` words of that stream from its block of 16 bytes `block` on, one behind the other, little-endian,
// each cut to its lowest `bits`. Whether all of them are below `limit`, which is at most 2^bits.
bool cr_keystream_words(struct cr_keystream *keystream, uint64_t stream, uint64_t block, unsigned bits,
                        uint32_t limit, uint32_t *words, size_t count);

#endif
