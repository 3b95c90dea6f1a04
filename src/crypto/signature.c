#include "crypto/ecdsa.h"
#include "crypto/openssl.h"

#include <openssl/core_names.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/params.h>
#include <string.h>

enum {
    WIDEST = 48,
    UNCOMPRESSED = 4, // the byte before x ‖ y in SEC 1's form of a point
};

static const struct {
    const char *name;
    size_t width;
} curves[] = {[CR_P256] = {"prime256v1", 32}, [CR_P384] = {"secp384r1", 48}};

static enum cr_status refused(void)
{
    ERR_clear_error(); // what a refused signature leaves would pass for the reason of the next failure
    return cr_fail(CR_DENIED, "the signature does not verify");
}

// r ‖ s as the DER that OpenSSL wants; free with OPENSSL_free. 0 where there is no memory.
static int to_der(struct cr_slice signature, unsigned char **der)
{
    size_t width = signature.size / 2;
    ECDSA_SIG *pair = ECDSA_SIG_new();
    BIGNUM *r = BN_bin2bn(signature.data, (int)width, NULL);
    BIGNUM *s = BN_bin2bn(signature.data + width, (int)width, NULL);
    int size = 0;
    *der = NULL;
    if (pair && r && s && ECDSA_SIG_set0(pair, r, s)) {
        r = s = NULL; // the pair's now
        size = i2d_ECDSA_SIG(pair, der);
    }
    BN_free(r);
    BN_free(s);
    ECDSA_SIG_free(pair);
    return size > 0 ? size : 0;
}

enum cr_status cr_ecdsa_verify_by(EVP_PKEY *key, enum cr_curve curve, struct cr_slice message,
                                  struct cr_slice signature)
{
    if (signature.size != 2 * curves[curve].width) return refused();
    unsigned char *der;
    int size = to_der(signature, &der);
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    const EVP_MD *hash = curve == CR_P256 ? EVP_sha256() : EVP_sha384();
    bool ready = size > 0 && context && EVP_DigestVerifyInit(context, NULL, hash, NULL, key) == 1;
    bool valid = ready && EVP_DigestVerify(context, der, (size_t)size, message.data, message.size) == 1;
    EVP_MD_CTX_free(context);
    OPENSSL_free(der);
    if (!ready) return cr_openssl_fail(CR_INTERNAL, "a signature cannot be verified");
    return valid ? CR_OK : refused();
}

enum cr_status cr_ecdsa_verify(enum cr_curve curve, struct cr_slice point, struct cr_slice message,
                               struct cr_slice signature)
{
    if (point.size != 2 * curves[curve].width) return refused();
    unsigned char encoded[1 + 2 * WIDEST] = {UNCOMPRESSED};
    memcpy(encoded + 1, point.data, point.size);
    char name[16];
    strcpy(name, curves[curve].name);
    OSSL_PARAM parameters[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, name, 0),
        OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PUB_KEY, encoded, 1 + point.size),
        OSSL_PARAM_construct_end(),
    };
    EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_name(NULL, "EC", NULL);
    EVP_PKEY *key = NULL;
    enum cr_status status;
    if (!context || EVP_PKEY_fromdata_init(context) != 1)
        status = cr_openssl_fail(CR_INTERNAL, "a signature cannot be verified");
    else if (EVP_PKEY_fromdata(context, &key, EVP_PKEY_PUBLIC_KEY, parameters) != 1)
        status = refused(); // not a point of the curve
    else
        status = cr_ecdsa_verify_by(key, curve, message, signature);
    EVP_PKEY_free(key);
    EVP_PKEY_CTX_free(context);
    return status;
}
