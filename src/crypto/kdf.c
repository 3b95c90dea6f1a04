#include "crypto/kdf.h"
#include "crypto/openssl.h"

#include <openssl/core_names.h>
#include <openssl/kdf.h>
#include <openssl/params.h>
#include <stdbool.h>
#include <string.h>

enum cr_status cr_hkdf(struct cr_slice material, const char *label, unsigned char *out, size_t size)
{
    char digest[] = "SHA256";
    // OSSL_PARAM's constructors take pointers to what they do not change.
    void *key = (void *)(uintptr_t)material.data, *info = (void *)(uintptr_t)label;
    OSSL_PARAM parameters[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, digest, 0),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, key, material.size),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_INFO, info, strlen(label)),
        OSSL_PARAM_construct_end(),
    };
    EVP_KDF *kdf = EVP_KDF_fetch(NULL, "HKDF", NULL);
    EVP_KDF_CTX *context = kdf ? EVP_KDF_CTX_new(kdf) : NULL;
    bool derived = context && EVP_KDF_derive(context, out, size, parameters) == 1;
    EVP_KDF_CTX_free(context);
    EVP_KDF_free(kdf);
    return derived ? CR_OK : cr_openssl_fail(CR_INTERNAL, "HKDF failed");
}
