#include "crypto/keystream.h"
#include "crypto/kdf.h"
#include "crypto/openssl.h"

#include <limits.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

struct cr_keystream {
    EVP_CIPHER_CTX *cipher;
};

enum cr_status cr_key_derive(const unsigned char root[CR_KEY_SIZE], const char *label,
                             unsigned char out[CR_KEY_SIZE])
{
    return cr_hkdf((struct cr_slice){root, CR_KEY_SIZE}, label, out, CR_KEY_SIZE);
}

enum cr_status cr_keystream_new(const unsigned char key[CR_KEY_SIZE], struct cr_keystream **out)
{
    struct cr_keystream *keystream;
    CR_TRY(cr_allocate(1, sizeof *keystream, &keystream));
    keystream->cipher = EVP_CIPHER_CTX_new();
    if (!keystream->cipher || !EVP_EncryptInit_ex(keystream->cipher, EVP_aes_256_ctr(), NULL, key, NULL)) {
        cr_keystream_free(keystream);
        return cr_openssl_fail(CR_INTERNAL, "AES-256-CTR failed");
    }
    *out = keystream;
    return CR_OK;
}

void cr_keystream_free(struct cr_keystream *keystream)
{
    if (!keystream) return;
    EVP_CIPHER_CTX_free(keystream->cipher); // wipes
    free(keystream);
}

void cr_keystream_bytes(struct cr_keystream *keystream, uint64_t stream, void *out, size_t size)
{
    unsigned char counter[16] = {0};
    for (size_t i = 0; i < 8; i++) counter[i] = (unsigned char)(stream >> (56 - 8 * i));
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
