// A public-key infrastructure of a test's own: keys, certificates with a vendor's extensions, revocation
// lists, raw signatures. Everything lives until the program ends unless it is freed.
#ifndef CARREL_TESTS_PKI_SUPPORT_H
#define CARREL_TESTS_PKI_SUPPORT_H

#include "support.h"

#include "attestation/appraisal_policy.h"
#include "base/bytes.h"

#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/ecdsa.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>

enum { DAY = 24 * 3600, YEAR = 365 * DAY };

// One party: its key and certificate.
struct party {
    EVP_PKEY *key;
    X509 *certificate;
};

// Of a curve, or "RSA": these take long to make, so of them a program has four, in turn.
static inline EVP_PKEY *new_key(const char *curve)
{
    static EVP_PKEY *made[4];
    static size_t turn;
    EVP_PKEY *key;
    if (strcmp(curve, "RSA") != 0) {
        key = EVP_EC_gen(curve);
    } else {
        EVP_PKEY **place = &made[turn++ % 4];
        if (!*place) *place = EVP_RSA_gen(2048);
        key = *place;
        EVP_PKEY_up_ref(key);
    }
    assert_non_null(key);
    return key;
}

static inline void party_free(struct party *party)
{
    EVP_PKEY_free(party->key);
    X509_free(party->certificate);
}

static inline void put_hex(struct cr_buffer *out, const void *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++)
        assert_ok(cr_append_format(out, "%02x", ((const unsigned char *)bytes)[i]));
}

// One element of DER.
static inline void put_der(struct cr_buffer *out, uint8_t tag, const void *content, size_t size)
{
    assert_ok(cr_append_u8(out, tag));
    if (size >= 256) {
        assert_ok(cr_append_u8(out, 0x82));
        assert_ok(cr_append_u8(out, (uint8_t)(size >> 8)));
    } else if (size >= 128) {
        assert_ok(cr_append_u8(out, 0x81));
    }
    assert_ok(cr_append_u8(out, (uint8_t)size));
    assert_ok(cr_append(out, content, size));
}

static inline void add_extension(X509 *certificate, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX context;
    X509V3_set_ctx_nodb(&context);
    X509V3_set_ctx(&context, issuer, certificate, NULL, NULL, 0);
    X509_EXTENSION *extension = X509V3_EXT_nconf_nid(NULL, &context, nid, value);
    assert_non_null(extension);
    assert_int_equal(X509_add_ext(certificate, extension, -1), 1);
    X509_EXTENSION_free(extension);
}

static inline void add_raw_extension(X509 *certificate, const char *oid, struct cr_slice content)
{
    ASN1_OBJECT *object = OBJ_txt2obj(oid, 1);
    ASN1_OCTET_STRING *octets = ASN1_OCTET_STRING_new();
    ASN1_OCTET_STRING_set(octets, content.data, (int)content.size);
    X509_EXTENSION *extension = X509_EXTENSION_create_by_OBJ(NULL, object, 0, octets);
    assert_int_equal(X509_add_ext(certificate, extension, -1), 1);
    X509_EXTENSION_free(extension);
    ASN1_OCTET_STRING_free(octets);
    ASN1_OBJECT_free(object);
}

// By RSA as AMD does: PSS with SHA-384 and a salt as long.
static inline void sign_certificate(X509 *certificate, const struct party *issuer)
{
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    EVP_PKEY_CTX *how = NULL;
    bool rsa = EVP_PKEY_is_a(issuer->key, "RSA");
    const EVP_MD *hash = rsa || EVP_PKEY_get_bits(issuer->key) == 384 ? EVP_sha384() : EVP_sha256();
    assert_int_equal(EVP_DigestSignInit(context, &how, hash, NULL, issuer->key), 1);
    if (rsa) {
        assert_int_equal(EVP_PKEY_CTX_set_rsa_padding(how, RSA_PKCS1_PSS_PADDING), 1);
        assert_int_equal(EVP_PKEY_CTX_set_rsa_pss_saltlen(how, RSA_PSS_SALTLEN_DIGEST), 1);
    }
    assert_true(X509_sign_ctx(certificate, context) > 0);
    EVP_MD_CTX_free(context);
}

// A certificate that is not signed yet; `issuer` NULL: by itself. It is good from `begins` to `ends`.
static inline struct party new_party(const char *curve, const char *name, const struct party *issuer,
                                     bool authority, int64_t begins, int64_t ends)
{
    static long serial = 1000;
    struct party party = {new_key(curve), X509_new()};
    X509 *certificate = party.certificate, *above = issuer ? issuer->certificate : certificate;
    X509_set_version(certificate, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(certificate), ++serial);
    ASN1_TIME_set(X509_getm_notBefore(certificate), (time_t)begins);
    ASN1_TIME_set(X509_getm_notAfter(certificate), (time_t)ends);
    X509_set_pubkey(certificate, party.key);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(certificate), "CN", MBSTRING_UTF8,
                               (const unsigned char *)name, -1, -1, 0);
    X509_set_issuer_name(certificate, X509_get_subject_name(above));
    add_extension(certificate, above, NID_basic_constraints,
                  authority ? "critical,CA:TRUE" : "critical,CA:FALSE");
    add_extension(certificate, above, NID_key_usage,
                  authority ? "critical,keyCertSign,cRLSign" : "critical,digitalSignature");
    return party;
}

static inline struct party signed_party(const char *curve, const char *name, const struct party *issuer,
                                        bool authority, int64_t begins, int64_t ends)
{
    struct party party = new_party(curve, name, issuer, authority, begins, ends);
    sign_certificate(party.certificate, issuer ? issuer : &party);
    return party;
}

// The issuer's revocation list in DER; `revoked` (may be NULL) is on it since `begins`. `scope` (may be NULL)
// says of which certificates alone it is.
static inline void put_crl_of(struct cr_buffer *out, const struct party *issuer, const struct party *revoked,
                              int64_t begins, int64_t ends, const char *scope)
{
    X509_CRL *list = X509_CRL_new();
    ASN1_TIME *first = ASN1_TIME_set(NULL, (time_t)begins), *last = ASN1_TIME_set(NULL, (time_t)ends);
    X509_CRL_set_version(list, X509_CRL_VERSION_2);
    X509_CRL_set_issuer_name(list, X509_get_subject_name(issuer->certificate));
    X509_CRL_set1_lastUpdate(list, first);
    X509_CRL_set1_nextUpdate(list, last);
    if (revoked) {
        X509_REVOKED *entry = X509_REVOKED_new();
        X509_REVOKED_set_serialNumber(entry, X509_get_serialNumber(revoked->certificate));
        X509_REVOKED_set_revocationDate(entry, first);
        assert_int_equal(X509_CRL_add0_revoked(list, entry), 1);
    }
    if (scope) {
        X509_EXTENSION *extension = X509V3_EXT_nconf_nid(NULL, NULL, NID_issuing_distribution_point, scope);
        assert_non_null(extension);
        assert_int_equal(X509_CRL_add_ext(list, extension, -1), 1);
        X509_EXTENSION_free(extension);
    }
    X509_CRL_sort(list);
    assert_true(X509_CRL_sign(list, issuer->key, EVP_sha256()) > 0);
    unsigned char *der = NULL;
    int size = i2d_X509_CRL(list, &der);
    assert_true(size > 0);
    assert_ok(cr_append(out, der, (size_t)size));
    OPENSSL_free(der);
    ASN1_TIME_free(first);
    ASN1_TIME_free(last);
    X509_CRL_free(list);
}

static inline void put_crl(struct cr_buffer *out, const struct party *issuer, const struct party *revoked,
                           int64_t begins, int64_t ends)
{
    put_crl_of(out, issuer, revoked, begins, ends, NULL);
}

static inline void put_pem(struct cr_buffer *out, const struct party *party)
{
    BIO *bio = BIO_new(BIO_s_mem());
    assert_int_equal(PEM_write_bio_X509(bio, party->certificate), 1);
    char *text;
    long size = BIO_get_mem_data(bio, &text);
    assert_ok(cr_append(out, text, (size_t)size));
    BIO_free(bio);
}

// x ‖ y of a key on a curve of `width` bytes.
static inline void key_point(EVP_PKEY *key, size_t width, unsigned char *out)
{
    unsigned char encoded[1 + 2 * 48];
    size_t size = 0;
    assert_int_equal(EVP_PKEY_get_octet_string_param(key, OSSL_PKEY_PARAM_ENCODED_PUBLIC_KEY, encoded,
                                                     sizeof encoded, &size),
                     1);
    assert_int_equal(size, 1 + 2 * width);
    memcpy(out, encoded + 1, 2 * width);
}

// r ‖ s, big-endian, each of `width` bytes.
static inline void sign_raw(EVP_PKEY *key, const void *message, size_t size, size_t width, unsigned char *out)
{
    unsigned char der[160];
    size_t der_size = sizeof der;
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    assert_int_equal(EVP_DigestSignInit(context, NULL, width == 32 ? EVP_sha256() : EVP_sha384(), NULL, key),
                     1);
    assert_int_equal(EVP_DigestSign(context, der, &der_size, message, size), 1);
    EVP_MD_CTX_free(context);
    const unsigned char *at = der;
    ECDSA_SIG *pair = d2i_ECDSA_SIG(NULL, &at, (long)der_size);
    assert_int_equal(BN_bn2binpad(ECDSA_SIG_get0_r(pair), out, (int)width), width);
    assert_int_equal(BN_bn2binpad(ECDSA_SIG_get0_s(pair), out + width, (int)width), width);
    ECDSA_SIG_free(pair);
}

// SHA-256 of the party's key, in hexadecimal: what a policy's trusted_roots holds.
static inline void key_digest_hex(const struct party *party, char out[65])
{
    unsigned char *der = NULL, digest[32];
    int size = i2d_PUBKEY(party->key, &der);
    assert_int_equal(EVP_Digest(der, (size_t)size, digest, NULL, EVP_sha256(), NULL), 1);
    OPENSSL_free(der);
    cr_hex_encode((struct cr_slice){digest, sizeof digest}, out);
}

// A policy that trusts this root alone, and says more in `lines`.
static inline void trust(const struct party *root, const char *lines, struct cr_appraisal_policy *out)
{
    CR_CLEANUP(cr_buffer_release) struct cr_buffer yaml = {0};
    char digest[65];
    key_digest_hex(root, digest);
    assert_ok(cr_append_format(&yaml, "trusted_roots: \"%s\"\n%s", digest, lines));
    assert_ok(cr_appraisal_policy_parse(cr_buffer_slice(&yaml), "policy", out));
}

#endif
