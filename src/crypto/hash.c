#include "crypto/hash.h"
#include "crypto/openssl.h"

#include <openssl/evp.h>
#include <stdlib.h>

void cr_sha256_hex(const unsigned char digest[CR_SHA256_SIZE], char out[CR_SHA256_HEX_SIZE])
{
    cr_hex_encode((struct cr_slice){digest, CR_SHA256_SIZE}, out);
}

struct cr_hasher {
    EVP_MD_CTX *context; // NULL once finished
};

enum cr_status cr_sha256(struct cr_slice bytes, unsigned char out[CR_SHA256_SIZE])
{
    if (!EVP_Digest(bytes.data, bytes.size, out, NULL, EVP_sha256(), NULL))
        return cr_openssl_fail(CR_INTERNAL, "SHA-256 failed");
    return CR_OK;
}

enum cr_status cr_sha384(struct cr_slice bytes, unsigned char out[CR_SHA384_SIZE])
{
    if (!EVP_Digest(bytes.data, bytes.size, out, NULL, EVP_sha384(), NULL))
        return cr_openssl_fail(CR_INTERNAL, "SHA-384 failed");
    return CR_OK;
}

enum cr_status cr_sha512(struct cr_slice bytes, unsigned char out[CR_SHA512_SIZE])
{
    if (!EVP_Digest(bytes.data, bytes.size, out, NULL, EVP_sha512(), NULL))
        return cr_openssl_fail(CR_INTERNAL, "SHA-512 failed");
    return CR_OK;
}

enum cr_status cr_hasher_new(struct cr_hasher **out)
{
    struct cr_hasher *hasher;
    CR_TRY(cr_allocate(1, sizeof *hasher, &hasher));
    hasher->context = EVP_MD_CTX_new();
    if (!hasher->context || !EVP_DigestInit_ex(hasher->context, EVP_sha256(), NULL)) {
        cr_hasher_free(hasher);
        return cr_openssl_fail(CR_INTERNAL, "SHA-256 failed");
    }
    *out = hasher;
    return CR_OK;
}

enum cr_status cr_hasher_add(struct cr_hasher *hasher, struct cr_slice bytes)
{
    if (!hasher->context) return cr_fail(CR_INTERNAL, "SHA-256: bytes after the end");
    if (bytes.size > 0 && !EVP_DigestUpdate(hasher->context, bytes.data, bytes.size))
        return cr_openssl_fail(CR_INTERNAL, "SHA-256 failed");
    return CR_OK;
}

enum cr_status cr_hasher_finish(struct cr_hasher *hasher, unsigned char out[CR_SHA256_SIZE])
{
    if (!hasher->context) return cr_fail(CR_INTERNAL, "SHA-256: finished twice");
    if (!EVP_DigestFinal_ex(hasher->context, out, NULL))
        return cr_openssl_fail(CR_INTERNAL, "SHA-256 failed");
    EVP_MD_CTX_free(hasher->context);
    hasher->context = NULL;
    return CR_OK;
}

void cr_hasher_free(struct cr_hasher *hasher)
{
    if (!hasher) return;
    EVP_MD_CTX_free(hasher->context);
    free(hasher);
}

void cr_hasher_release(struct cr_hasher **hasher)
{
    cr_hasher_free(*hasher);
    *hasher = NULL;
}
