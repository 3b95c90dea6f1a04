#include "crypto/openssl.h"
#include "crypto/verify.h"

#include <openssl/core_names.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/param_build.h>
#include <openssl/params.h>
#include <openssl/pem.h>
#include <string.h>

enum {
    WIDTH = 32,
    WIDTH_384 = 48,   // bytes of a number of P-256, of P-384
    UNCOMPRESSED = 4, // the first byte of an uncompressed point in SEC 1
    LEAST_RSA_BITS = 2048,
    MOST_RSA_BITS = 8192,
};

// Empties OpenSSL's queue, in which a leftover error would be reported as the next failure's reason.
static enum cr_status refused(void)
{
    bool starved = false;
    for (unsigned long error; (error = ERR_get_error()) != 0;)
        starved = starved || ERR_GET_REASON(error) == ERR_R_MALLOC_FAILURE;
    if (starved) return cr_fail(CR_NO_MEMORY, "out of memory for a signature");
    return cr_fail(CR_DENIED, "the signature does not verify");
}

// Converts r ‖ s to DER, for OpenSSL; free it with OPENSSL_free. Returns 0 if there is no memory.
static int to_der(struct cr_slice signature, unsigned char **der)
{
    size_t width = signature.size / 2;
    ECDSA_SIG *pair = ECDSA_SIG_new();
    BIGNUM *r = BN_bin2bn(signature.data, (int)width, NULL);
    BIGNUM *s = BN_bin2bn(signature.data + width, (int)width, NULL);
    int size = 0;
    *der = NULL;
    if (pair && r && s && ECDSA_SIG_set0(pair, r, s)) {
        r = s = NULL; // owned by `pair` now
        size = i2d_ECDSA_SIG(pair, der);
    }
    BN_free(r);
    BN_free(s);
    ECDSA_SIG_free(pair);
    return size > 0 ? size : 0;
}

static enum cr_status verify(EVP_PKEY *key, const EVP_MD *hash, struct cr_slice message,
                             struct cr_slice signature)
{
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    bool ready = context && EVP_DigestVerifyInit(context, NULL, hash, NULL, key) == 1;
    bool valid =
        ready && EVP_DigestVerify(context, signature.data, signature.size, message.data, message.size) == 1;
    EVP_MD_CTX_free(context);
    if (!ready) return cr_openssl_fail(CR_INTERNAL, "a signature cannot be verified");
    return valid ? CR_OK : refused();
}

enum cr_status cr_ecdsa_verify_by(EVP_PKEY *key, enum cr_curve curve, struct cr_slice message,
                                  struct cr_slice signature)
{
    if (signature.size != (curve == CR_P256 ? 2 * WIDTH : 2 * WIDTH_384)) return refused();
    unsigned char *der;
    int size = to_der(signature, &der);
    if (size == 0) return cr_openssl_fail(CR_NO_MEMORY, "out of memory for a signature");
    enum cr_status status = verify(key, curve == CR_P256 ? EVP_sha256() : EVP_sha384(), message,
                                   (struct cr_slice){der, (size_t)size});
    OPENSSL_free(der);
    return status;
}

enum cr_status cr_ecdsa_key(struct cr_slice encoded, EVP_PKEY **out)
{
    char name[] = "prime256v1";
    OSSL_PARAM parameters[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, name, 0),
        OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PUB_KEY, (void *)(uintptr_t)encoded.data,
                                          encoded.size), // not changed
        OSSL_PARAM_construct_end(),
    };
    EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_name(NULL, "EC", NULL);
    EVP_PKEY *key = NULL;
    enum cr_status status = CR_OK;
    if (!context || EVP_PKEY_fromdata_init(context) != 1)
        status = cr_openssl_fail(CR_INTERNAL, "a public key cannot be read");
    else if (EVP_PKEY_fromdata(context, &key, EVP_PKEY_PUBLIC_KEY, parameters) != 1)
        status = refused();
    else
        *out = key;
    EVP_PKEY_CTX_free(context);
    return status;
}

// Makes a public key; CR_DENIED if the point is not on the curve.
static enum cr_status key_of_point(struct cr_slice point, EVP_PKEY **out)
{
    unsigned char encoded[1 + 2 * WIDTH] = {UNCOMPRESSED};
    if (point.size != 2 * WIDTH) return refused();
    memcpy(encoded + 1, point.data, point.size);
    return cr_ecdsa_key((struct cr_slice){encoded, sizeof encoded}, out);
}

enum cr_status cr_ecdsa_verify(struct cr_slice point, struct cr_slice message, struct cr_slice signature)
{
    EVP_PKEY *key;
    CR_TRY(key_of_point(point, &key));
    enum cr_status status = cr_ecdsa_verify_by(key, CR_P256, message, signature);
    EVP_PKEY_free(key);
    return status;
}

enum cr_status cr_ecdsa_key_pem(struct cr_slice point, struct cr_buffer *out)
{
    EVP_PKEY *key;
    CR_TRY(key_of_point(point, &key));
    BIO *text = BIO_new(BIO_s_mem());
    char *bytes = NULL;
    long size = text && PEM_write_bio_PUBKEY(text, key) == 1 ? BIO_get_mem_data(text, &bytes) : 0;
    enum cr_status status = size > 0 ? cr_append(out, bytes, (size_t)size)
                                     : cr_openssl_fail(CR_NO_MEMORY, "out of memory for a public key");
    BIO_free(text);
    EVP_PKEY_free(key);
    return status;
}

enum cr_status cr_rsa_verify_by(EVP_PKEY *key, struct cr_slice message, struct cr_slice signature)
{
    int bits = EVP_PKEY_get_bits(key);
    if (bits < LEAST_RSA_BITS || bits > MOST_RSA_BITS) return refused();
    return verify(key, EVP_sha256(), message, signature);
}

// Makes a public key; NULL if the numbers are not valid or there is no memory.
static EVP_PKEY *rsa_key(struct cr_slice modulus, struct cr_slice exponent)
{
    BIGNUM *n = BN_bin2bn(modulus.data, (int)modulus.size, NULL);
    BIGNUM *e = BN_bin2bn(exponent.data, (int)exponent.size, NULL);
    OSSL_PARAM_BLD *build = OSSL_PARAM_BLD_new();
    OSSL_PARAM *parameters = NULL;
    EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_name(NULL, "RSA", NULL);
    EVP_PKEY *key = NULL;
    if (n && e && build && OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_RSA_N, n) &&
        OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_RSA_E, e))
        parameters = OSSL_PARAM_BLD_to_param(build);
    if (parameters && context && EVP_PKEY_fromdata_init(context) == 1 &&
        EVP_PKEY_fromdata(context, &key, EVP_PKEY_PUBLIC_KEY, parameters) != 1)
        key = NULL;
    EVP_PKEY_CTX_free(context);
    OSSL_PARAM_free(parameters);
    OSSL_PARAM_BLD_free(build);
    BN_free(n);
    BN_free(e);
    return key;
}

enum cr_status cr_rsa_verify(struct cr_slice modulus, struct cr_slice exponent, struct cr_slice message,
                             struct cr_slice signature)
{
    if (modulus.size > MOST_RSA_BITS / 8 || exponent.size > sizeof(uint64_t)) return refused();
    EVP_PKEY *key = rsa_key(modulus, exponent);
    enum cr_status status = key ? cr_rsa_verify_by(key, message, signature) : refused();
    EVP_PKEY_free(key);
    return status;
}
