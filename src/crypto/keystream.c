#include "crypto/keystream.h"
#include "crypto/kdf.h"
#include "crypto/keystream_vaes.h"
#include "crypto/openssl.h"

#include <limits.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

// Allocated by OpenSSL's allocator, and so in secret pages (heap.h), as OpenSSL's copy of the key.
struct cr_keystream {
    EVP_CIPHER_CTX *cipher; // NULL: the vector instructions, with these keys
    unsigned char keys[CR_VAES_KEYS_SIZE];
};

enum cr_status cr_key_derive(const unsigned char root[CR_KEY_SIZE], const char *label,
                             unsigned char out[CR_KEY_SIZE])
{
    return cr_hkdf((struct cr_slice){root, CR_KEY_SIZE}, label, out, CR_KEY_SIZE);
}

bool cr_keys_equal(const unsigned char a[CR_KEY_SIZE], const unsigned char b[CR_KEY_SIZE])
{
    return CRYPTO_memcmp(a, b, CR_KEY_SIZE) == 0;
}

// Switches to the vector instructions if the processor has them and they give the same words as OpenSSL,
// tried on several full iterations of their loop and a partial one.
static void try_vaes(struct cr_keystream *keystream, const unsigned char key[CR_KEY_SIZE])
{
    enum { TRIED = 2 * 128 + 19 };
    const uint64_t stream = 0xfedcba9876543210, block = 0x123456789;
    uint32_t wanted[TRIED], made[TRIED];
    bool equal = true;
    if (!cr_vaes_is_here()) return;
    cr_vaes_expand(key, keystream->keys);
    for (unsigned bits = 31; bits >= 23; bits -= 8) { // words of four bytes and of three
        cr_keystream_words(keystream, stream, block, bits, 1u << bits, wanted, TRIED);
        cr_vaes_words(keystream->keys, stream, block, bits, 1u << bits, made, TRIED);
        equal &= CRYPTO_memcmp(wanted, made, sizeof wanted) == 0;
    }
    cr_wipe(wanted, sizeof wanted);
    cr_wipe(made, sizeof made);
    if (!equal) return;
    EVP_CIPHER_CTX_free(keystream->cipher);
    keystream->cipher = NULL;
}

enum cr_status cr_keystream_new(const unsigned char key[CR_KEY_SIZE], struct cr_keystream **out)
{
    struct cr_keystream *keystream = OPENSSL_zalloc(sizeof *keystream);
    if (!keystream) return cr_openssl_fail(CR_NO_MEMORY, "AES-256-CTR: out of memory");
    keystream->cipher = EVP_CIPHER_CTX_new();
    if (!keystream->cipher || !EVP_EncryptInit_ex(keystream->cipher, EVP_aes_256_ctr(), NULL, key, NULL)) {
        cr_keystream_free(keystream);
        return cr_openssl_fail(CR_INTERNAL, "AES-256-CTR failed");
    }
    try_vaes(keystream, key);
    *out = keystream;
    return CR_OK;
}

void cr_keystream_free(struct cr_keystream *keystream)
{
    if (!keystream) return;
    EVP_CIPHER_CTX_free(keystream->cipher); // wipes
    OPENSSL_clear_free(keystream, sizeof *keystream);
}

// The stream's bytes, made by OpenSSL.
static void make_bytes(struct cr_keystream *keystream, uint64_t stream, uint64_t block, void *out,
                       size_t size)
{
    unsigned char counter[16] = {0};
    for (size_t i = 0; i < 8; i++) {
        counter[i] = (unsigned char)(stream >> (56 - 8 * i));
        counter[8 + i] = (unsigned char)(block >> (56 - 8 * i));
    }
    // With a cipher and key in place this only copies the counter.
    if (!EVP_EncryptInit_ex(keystream->cipher, NULL, NULL, NULL, counter)) abort();
    unsigned char *at = out;
    if (size > 0) memset(at, 0, size);
    while (size > 0) {
        int part = size < INT_MAX ? (int)size : INT_MAX, made = 0;
        if (!EVP_EncryptUpdate(keystream->cipher, at, &made, at, part) || made != part) abort();
        at += part;
        size -= (size_t)part;
    }
}

bool cr_keystream_words(struct cr_keystream *keystream, uint64_t stream, uint64_t block, unsigned bits,
                        uint32_t limit, uint32_t *words, size_t count)
{
    if (!keystream->cipher) return cr_vaes_words(keystream->keys, stream, block, bits, limit, words, count);
    const uint32_t top = 1u << bits;
    uint32_t found = 0;
    // The bytes are made at the end of `words`. Each is then moved forward to its word, whose place no unread
    // bytes occupy any more.
    size_t size = cr_keystream_word_size(bits);
    unsigned char *bytes = (unsigned char *)words + count * (sizeof *words - size);
    make_bytes(keystream, stream, block, bytes, count * size);
    for (size_t i = 0; i < count; i++) {
        uint32_t word = 0;
        memcpy(&word, bytes + i * size, size);
        words[i] = word & (top - 1);
        found |= words[i] + (top - limit); // sets bit `bits` if the word is not below the limit
    }
    return (found & top) == 0;
}
