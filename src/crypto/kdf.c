#include "crypto/kdf.h"
#include "crypto/openssl.h"

#include <openssl/core_names.h>
#include <openssl/kdf.h>
#include <openssl/params.h>
#include <stdbool.h>

// OSSL_PARAM's constructors take pointers to non-const, but do not change the data.
static OSSL_PARAM parameter(const char *name, struct cr_slice bytes)
{
    return OSSL_PARAM_construct_octet_string(name, (void *)(uintptr_t)bytes.data, bytes.size);
}

enum cr_status cr_hkdf_salted(struct cr_slice material, struct cr_slice salt, struct cr_slice info,
                              unsigned char *out, size_t size)
{
    char digest[] = "SHA256";
    OSSL_PARAM parameters[5] = {
        OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, digest, 0),
        parameter(OSSL_KDF_PARAM_KEY, material),
        parameter(OSSL_KDF_PARAM_INFO, info),
        salt.size > 0 ? parameter(OSSL_KDF_PARAM_SALT, salt) : OSSL_PARAM_construct_end(),
        OSSL_PARAM_construct_end(),
    };
    EVP_KDF *kdf = EVP_KDF_fetch(NULL, "HKDF", NULL);
    EVP_KDF_CTX *context = kdf ? EVP_KDF_CTX_new(kdf) : NULL;
    bool derived = context && EVP_KDF_derive(context, out, size, parameters) == 1;
    EVP_KDF_CTX_free(context);
    EVP_KDF_free(kdf);
    return derived ? CR_OK : cr_openssl_fail(CR_INTERNAL, "HKDF failed");
}

enum cr_status cr_hkdf(struct cr_slice material, const char *label, unsigned char *out, size_t size)
{
    return cr_hkdf_salted(material, (struct cr_slice){0}, cr_slice_of_string(label), out, size);
}
