#include "crypto/aead.h"
#include "crypto/openssl.h"

#include <limits.h>
#include <openssl/evp.h>
#include <stdlib.h>

enum { NONCE_SIZE = 12 };

struct cr_aead {
    EVP_CIPHER_CTX *seal, *open;
};

enum cr_status cr_aead_new(const unsigned char key[CR_KEY_SIZE], struct cr_aead **out)
{
    struct cr_aead *aead;
    CR_TRY(cr_allocate(1, sizeof *aead, &aead));
    aead->seal = EVP_CIPHER_CTX_new();
    aead->open = EVP_CIPHER_CTX_new();
    if (!aead->seal || !aead->open || !EVP_EncryptInit_ex(aead->seal, EVP_aes_256_gcm(), NULL, key, NULL) ||
        !EVP_DecryptInit_ex(aead->open, EVP_aes_256_gcm(), NULL, key, NULL)) {
        cr_aead_free(aead);
        return cr_openssl_fail(CR_INTERNAL, "AES-256-GCM failed");
    }
    *out = aead;
    return CR_OK;
}

void cr_aead_free(struct cr_aead *aead)
{
    if (!aead) return;
    EVP_CIPHER_CTX_free(aead->seal); // wipes
    EVP_CIPHER_CTX_free(aead->open);
    free(aead);
}

static void nonce_of(uint64_t number, unsigned char nonce[NONCE_SIZE])
{
    for (size_t i = 0; i < NONCE_SIZE; i++) nonce[i] = (unsigned char)(i < 4 ? 0 : number >> (88 - 8 * i));
}

static enum cr_status check_size(struct cr_slice bound, size_t size)
{
    if (size > INT_MAX || bound.size > INT_MAX)
        return cr_fail(CR_INTERNAL, "AES-256-GCM: %zu bytes in one piece", size);
    return CR_OK;
}

enum cr_status cr_aead_seal(struct cr_aead *aead, uint64_t number, struct cr_slice bound, const void *bytes,
                            size_t size, void *out)
{
    CR_TRY(check_size(bound, size));
    unsigned char nonce[NONCE_SIZE], *to = out;
    nonce_of(number, nonce);
    int made = 0;
    EVP_CIPHER_CTX *cipher = aead->seal;
    bool sealed = EVP_EncryptInit_ex(cipher, NULL, NULL, NULL, nonce) &&
                  (bound.size == 0 || EVP_EncryptUpdate(cipher, NULL, &made, bound.data, (int)bound.size)) &&
                  (size == 0 || EVP_EncryptUpdate(cipher, to, &made, bytes, (int)size)) &&
                  EVP_EncryptFinal_ex(cipher, to + size, &made) &&
                  EVP_CIPHER_CTX_ctrl(cipher, EVP_CTRL_AEAD_GET_TAG, CR_AEAD_TAG_SIZE, to + size);
    return sealed ? CR_OK : cr_openssl_fail(CR_INTERNAL, "AES-256-GCM failed");
}

enum cr_status cr_aead_open(struct cr_aead *aead, uint64_t number, struct cr_slice bound, const void *sealed,
                            size_t size, void *out)
{
    CR_TRY(check_size(bound, size));
    unsigned char nonce[NONCE_SIZE], *to = out;
    const unsigned char *from = sealed;
    unsigned char tag[CR_AEAD_TAG_SIZE];
    for (size_t i = 0; i < sizeof tag; i++) tag[i] = from[size + i];
    nonce_of(number, nonce);
    int made = 0;
    EVP_CIPHER_CTX *cipher = aead->open;
    bool begun = EVP_DecryptInit_ex(cipher, NULL, NULL, NULL, nonce) &&
                 (bound.size == 0 || EVP_DecryptUpdate(cipher, NULL, &made, bound.data, (int)bound.size)) &&
                 (size == 0 || EVP_DecryptUpdate(cipher, to, &made, from, (int)size)) &&
                 EVP_CIPHER_CTX_ctrl(cipher, EVP_CTRL_AEAD_SET_TAG, CR_AEAD_TAG_SIZE, tag);
    unsigned char none[CR_AEAD_TAG_SIZE];
    if (begun && EVP_DecryptFinal_ex(cipher, none, &made)) return CR_OK;
    cr_wipe(out, size);
    if (!begun) return cr_openssl_fail(CR_INTERNAL, "AES-256-GCM failed");
    return cr_fail(CR_DENIED, "sealed bytes were changed, or are others than were asked for");
}
