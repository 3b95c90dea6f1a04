#include "crypto/x509.h"
#include "crypto/openssl.h"
#include "crypto/pool.h"
#include "crypto/verify.h"

#include <limits.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { MOST = 4096 }; // the most certificates, and the most CRLs, of a pool

enum cr_status cr_x509_pool_new(struct cr_x509_pool **out)
{
    struct cr_x509_pool *pool;
    CR_TRY(cr_allocate(1, sizeof *pool, &pool));
    pool->certificates = sk_X509_new_null();
    pool->lists = sk_X509_CRL_new_null();
    if (!pool->certificates || !pool->lists) {
        cr_x509_pool_free(pool);
        return cr_fail(CR_NO_MEMORY, "out of memory for certificates");
    }
    *out = pool;
    return CR_OK;
}

void cr_x509_pool_free(struct cr_x509_pool *pool)
{
    if (!pool) return;
    sk_X509_pop_free(pool->certificates, X509_free);
    sk_X509_CRL_pop_free(pool->lists, X509_CRL_free);
    free(pool);
}

void cr_x509_pool_release(struct cr_x509_pool **pool)
{
    cr_x509_pool_free(*pool);
    *pool = NULL;
}

// Both functions take ownership of the object, even on failure.
static enum cr_status keep_certificate(struct cr_x509_pool *pool, X509 *certificate)
{
    for (int i = 0; i < sk_X509_num(pool->certificates); i++) {
        if (X509_cmp(sk_X509_value(pool->certificates, i), certificate) == 0) {
            X509_free(certificate);
            return CR_OK;
        }
    }
    if (sk_X509_num(pool->certificates) < MOST && sk_X509_push(pool->certificates, certificate) > 0)
        return CR_OK;
    X509_free(certificate);
    return cr_fail(CR_INVALID, "more than %d certificates", MOST);
}

static enum cr_status keep_list(struct cr_x509_pool *pool, X509_CRL *list)
{
    for (int i = 0; i < sk_X509_CRL_num(pool->lists); i++) {
        if (X509_CRL_match(sk_X509_CRL_value(pool->lists, i), list) == 0) {
            X509_CRL_free(list);
            return CR_OK;
        }
    }
    if (sk_X509_CRL_num(pool->lists) < MOST && sk_X509_CRL_push(pool->lists, list) > 0) return CR_OK;
    X509_CRL_free(list);
    return cr_fail(CR_INVALID, "more than %d revocation lists", MOST);
}

// Adds one DER certificate or CRL, whichever it is.
static enum cr_status add_der(struct cr_x509_pool *pool, struct cr_slice der, size_t *found)
{
    if (der.size == 0 || der.size > LONG_MAX || der.data[0] != (V_ASN1_SEQUENCE | V_ASN1_CONSTRUCTED))
        return CR_OK;
    const unsigned char *end = der.data + der.size, *at = der.data;
    X509 *certificate = d2i_X509(NULL, &at, (long)der.size);
    if (certificate && at == end) {
        CR_TRY(keep_certificate(pool, certificate));
        ++*found;
        return CR_OK;
    }
    X509_free(certificate);
    at = der.data;
    X509_CRL *list = d2i_X509_CRL(NULL, &at, (long)der.size);
    ERR_clear_error();
    if (list && at == end) {
        CR_TRY(keep_list(pool, list));
        ++*found;
        return CR_OK;
    }
    X509_CRL_free(list);
    return CR_OK;
}

static enum cr_status add_block(struct cr_x509_pool *pool, const char *name, struct cr_slice der,
                                size_t *found)
{
    if (strcmp(name, PEM_STRING_X509) != 0 && strcmp(name, PEM_STRING_X509_OLD) != 0 &&
        strcmp(name, PEM_STRING_X509_CRL) != 0)
        return CR_OK; // something else, such as a key
    return add_der(pool, der, found);
}

static enum cr_status add_pem(struct cr_x509_pool *pool, struct cr_slice text, size_t *found)
{
    if (text.size > INT_MAX) return cr_fail(CR_INVALID, "%zu bytes are too many for PEM", text.size);
    BIO *bio = BIO_new_mem_buf(text.data, (int)text.size);
    if (!bio) return cr_fail(CR_NO_MEMORY, "out of memory for PEM");
    enum cr_status status = CR_OK;
    while (status == CR_OK) {
        char *name = NULL, *header = NULL;
        unsigned char *der = NULL;
        long size = 0;
        if (PEM_read_bio(bio, &name, &header, &der, &size) != 1) {
            ERR_clear_error();
            break;
        }
        status = add_block(pool, name, (struct cr_slice){der, (size_t)size}, found);
        OPENSSL_free(name);
        OPENSSL_free(header);
        OPENSSL_free(der);
    }
    BIO_free(bio);
    return status;
}

enum cr_status cr_x509_pool_add(struct cr_x509_pool *pool, struct cr_slice bytes, size_t *found)
{
    // DER first, since a DER certificate's extension may contain PEM.
    size_t before = *found;
    CR_TRY(add_der(pool, bytes, found));
    const unsigned char *begins = bytes.size > 0 ? memmem(bytes.data, bytes.size, "-----BEGIN ", 11) : NULL;
    if (*found > before || !begins) return CR_OK;
    // Only text may come before PEM. In binary data OpenSSL takes every 254th byte for the start of a line,
    // so whether it finds PEM would depend on its position.
    if (memchr(bytes.data, 0, (size_t)(begins - bytes.data))) return CR_OK;
    return add_pem(pool, bytes, found);
}

size_t cr_x509_pool_count(const struct cr_x509_pool *pool)
{
    return (size_t)sk_X509_num(pool->certificates);
}

const struct cr_x509 *cr_x509_pool_at(const struct cr_x509_pool *pool, size_t i)
{
    return (const struct cr_x509 *)sk_X509_value(pool->certificates, (int)i);
}

bool cr_x509_extension(const struct cr_x509 *certificate, const char *oid, struct cr_slice *out)
{
    ASN1_OBJECT *object = OBJ_txt2obj(oid, 1);
    int at = object ? X509_get_ext_by_OBJ(cr_x509_of(certificate), object, -1) : -1;
    ASN1_OBJECT_free(object);
    if (at < 0) return false;
    const ASN1_OCTET_STRING *content = X509_EXTENSION_get_data(X509_get_ext(cr_x509_of(certificate), at));
    *out = (struct cr_slice){ASN1_STRING_get0_data(content), (size_t)ASN1_STRING_length(content)};
    return true;
}

bool cr_x509_subject_field(const X509 *certificate, int nid, char *out, size_t room)
{
    const X509_NAME *subject = X509_get_subject_name(certificate);
    int at = X509_NAME_get_index_by_NID(subject, nid, -1);
    if (at < 0 || X509_NAME_get_index_by_NID(subject, nid, at) >= 0) return false;
    unsigned char *text = NULL;
    int length = ASN1_STRING_to_UTF8(&text, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at)));
    bool fits = length > 0 && (size_t)length < room && !memchr(text, 0, (size_t)length);
    if (fits) {
        memcpy(out, text, (size_t)length);
        out[length] = 0;
    }
    OPENSSL_free(text);
    return fits;
}

void cr_x509_common_name(const struct cr_x509 *certificate, char out[CR_X509_NAME_SIZE])
{
    bool fits = cr_x509_subject_field(cr_x509_of(certificate), NID_commonName, out, CR_X509_NAME_SIZE);
    for (const unsigned char *at = (unsigned char *)out; fits && *at; at++)
        fits = *at >= ' ' && *at != 0x7f; // excludes control characters
    if (!fits) out[0] = 0;
}

bool cr_x509_time(const ASN1_TIME *time, int64_t *out)
{
    struct tm parts;
    if (!time || ASN1_TIME_to_tm(time, &parts) != 1) return false;
    *out = (int64_t)timegm(&parts);
    return true;
}

enum cr_status cr_x509_validity(const struct cr_x509 *certificate, int64_t *begins, int64_t *ends)
{
    int64_t first, last;
    if (!cr_x509_time(X509_get0_notBefore(cr_x509_of(certificate)), &first) ||
        !cr_x509_time(X509_get0_notAfter(cr_x509_of(certificate)), &last))
        return cr_openssl_fail(CR_INVALID, "a certificate with a malformed time");
    *begins = first;
    *ends = last;
    return CR_OK;
}

// Takes ownership of `der`.
static enum cr_status append_der(struct cr_buffer *out, unsigned char *der, int size)
{
    if (size <= 0) return cr_openssl_fail(CR_INVALID, "a certificate that cannot be written");
    enum cr_status status = cr_append(out, der, (size_t)size);
    OPENSSL_free(der);
    return status;
}

enum cr_status cr_x509_append_der(const struct cr_x509 *certificate, struct cr_buffer *out)
{
    unsigned char *der = NULL;
    int size = i2d_X509(cr_x509_of(certificate), &der);
    return append_der(out, der, size);
}

enum cr_status cr_x509_append_key(const struct cr_x509 *certificate, struct cr_buffer *out)
{
    unsigned char *der = NULL;
    int size = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(cr_x509_of(certificate)), &der);
    return append_der(out, der, size);
}

enum cr_status cr_x509_check_own_signature(const struct cr_x509 *certificate)
{
    X509 *own = cr_x509_of(certificate);
    if (X509_NAME_cmp(X509_get_subject_name(own), X509_get_issuer_name(own)) != 0) return CR_OK;
    bool good = X509_verify(own, X509_get0_pubkey(own)) == 1;
    ERR_clear_error(); // a leftover error would be reported as the next failure's reason
    return good ? CR_OK : cr_fail(CR_DENIED, "the certificate's signature, by its own key, does not verify");
}

enum cr_status cr_x509_verify(const struct cr_x509 *certificate, struct cr_slice message,
                              struct cr_slice signature)
{
    EVP_PKEY *key = X509_get0_pubkey(cr_x509_of(certificate));
    char group[32];
    size_t length;
    if (key && EVP_PKEY_is_a(key, "RSA")) return cr_rsa_verify_by(key, message, signature);
    if (!key || !EVP_PKEY_is_a(key, "EC") || EVP_PKEY_get_group_name(key, group, sizeof group, &length) != 1)
        group[0] = 0;
    if (strcmp(group, "prime256v1") == 0) return cr_ecdsa_verify_by(key, CR_P256, message, signature);
    if (strcmp(group, "secp384r1") == 0) return cr_ecdsa_verify_by(key, CR_P384, message, signature);
    ERR_clear_error();
    return cr_fail(CR_DENIED, "the certificate's key is neither of P-256, of P-384 nor of RSA");
}
