#include "crypto/certificate.h"
#include "base/clock.h"
#include "crypto/identity.h"
#include "crypto/openssl.h"
#include "crypto/pool.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>

enum {
    MAX_DER = 16384,
    HOUR = 3600,
    CLOCK_SLACK = HOUR, // members' clocks may be behind the server's
    AUTHORITY_DAYS = 3653,
    MEMBER_DAYS = 731,
    SERIAL_BITS = 159,
};

static void free_request(X509_REQ **request)
{
    X509_REQ_free(*request);
}

bool cr_certificate_is_name(const char *name)
{
    size_t length = strnlen(name, CR_NAME_SIZE);
    return length > 0 && length < CR_NAME_SIZE &&
           strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-") == length;
}

static bool is_role(const char *role)
{
    return strcmp(role, "server") == 0 || strcmp(role, "silo") == 0;
}

bool cr_certificate_is_p256(const EVP_PKEY *key)
{
    char group[32];
    size_t length;
    return key && EVP_PKEY_is_a(key, "EC") &&
           EVP_PKEY_get_group_name(key, group, sizeof group, &length) == 1 &&
           strcmp(group, "prime256v1") == 0;
}

enum cr_status cr_certificate_decode(struct cr_slice der, const char *what, X509 **out)
{
    if (der.size > MAX_DER) return cr_fail(CR_INVALID, "%s: %zu bytes are too many", what, der.size);
    const unsigned char *at = der.data;
    X509 *certificate = der.size > 0 ? d2i_X509(NULL, &at, (long)der.size) : NULL;
    if (!certificate) return cr_openssl_fail(CR_INVALID, "%s: not a DER certificate", what);
    if (at != der.data + der.size) {
        X509_free(certificate);
        return cr_fail(CR_INVALID, "%s: bytes after its end", what);
    }
    *out = certificate;
    return CR_OK;
}

static bool add_extension(X509 *certificate, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX context;
    X509V3_set_ctx_nodb(&context);
    X509V3_set_ctx(&context, issuer, certificate, NULL, NULL, 0);
    X509_EXTENSION *extension = X509V3_EXT_nconf_nid(NULL, &context, nid, value);
    bool added = extension && X509_add_ext(certificate, extension, -1);
    X509_EXTENSION_free(extension);
    return added;
}

static bool set_random_serial(X509 *certificate)
{
    BIGNUM *number = BN_new();
    // The top bit is set, so the serial is never zero and always as long.
    bool set = number && BN_rand(number, SERIAL_BITS, BN_RAND_TOP_ONE, BN_RAND_BOTTOM_ANY) &&
               BN_to_ASN1_INTEGER(number, X509_get_serialNumber(certificate));
    BN_free(number);
    return set;
}

static bool add_subject(X509_NAME *subject, const char *field, const char *value)
{
    return X509_NAME_add_entry_by_txt(subject, field, MBSTRING_UTF8, (const unsigned char *)value, -1, -1, 0);
}

// What all kinds have: version 3, serial, validity, key.
static bool begin(X509 *certificate, EVP_PKEY *key, int64_t now, int days)
{
    return X509_set_version(certificate, X509_VERSION_3) && set_random_serial(certificate) &&
           ASN1_TIME_adj(X509_getm_notBefore(certificate), (time_t)now, 0, -CLOCK_SLACK) &&
           ASN1_TIME_adj(X509_getm_notAfter(certificate), (time_t)now, days, -CLOCK_SLACK) &&
           X509_set_pubkey(certificate, key);
}

enum cr_status cr_certificate_make_authority(EVP_PKEY *key, const char *name, int64_t now, X509 **out)
{
    CR_CLEANUP(cr_certificate_release) X509 *certificate = X509_new();
    bool made =
        certificate && begin(certificate, key, now, AUTHORITY_DAYS) &&
        add_subject(X509_get_subject_name(certificate), "CN", name) &&
        X509_set_issuer_name(certificate, X509_get_subject_name(certificate)) &&
        add_extension(certificate, certificate, NID_basic_constraints, "critical,CA:TRUE,pathlen:0") &&
        add_extension(certificate, certificate, NID_key_usage, "critical,keyCertSign,cRLSign") &&
        add_extension(certificate, certificate, NID_subject_key_identifier, "hash") &&
        X509_sign(certificate, key, EVP_sha256());
    if (!made) return cr_openssl_fail(CR_INVALID, "no CA named \"%s\" could be made", name);
    *out = certificate;
    certificate = NULL;
    return CR_OK;
}

enum cr_status cr_certificate_make_bare(EVP_PKEY *key, const char *name, int64_t now, X509 **out)
{
    CR_CLEANUP(cr_certificate_release) X509 *certificate = X509_new();
    bool made = certificate && begin(certificate, key, now, MEMBER_DAYS) &&
                add_subject(X509_get_subject_name(certificate), "CN", name) &&
                X509_set_issuer_name(certificate, X509_get_subject_name(certificate)) &&
                add_extension(certificate, certificate, NID_basic_constraints, "critical,CA:FALSE") &&
                add_extension(certificate, certificate, NID_key_usage, "critical,digitalSignature") &&
                add_extension(certificate, certificate, NID_ext_key_usage, "serverAuth") &&
                X509_sign(certificate, key, EVP_sha256());
    if (!made) return cr_openssl_fail(CR_INTERNAL, "no certificate for \"%s\" could be made", name);
    *out = certificate;
    certificate = NULL;
    return CR_OK;
}

static enum cr_status read_request(struct cr_slice der, X509_REQ **out)
{
    if (der.size > MAX_DER)
        return cr_fail(CR_INVALID, "certificate request: %zu bytes are too many", der.size);
    const unsigned char *at = der.data;
    CR_CLEANUP(free_request)
    X509_REQ *request = der.size > 0 ? d2i_X509_REQ(NULL, &at, (long)der.size) : NULL;
    if (!request) return cr_openssl_fail(CR_INVALID, "certificate request: not DER of PKCS #10");
    if (at != der.data + der.size) return cr_fail(CR_INVALID, "certificate request: bytes after its end");
    EVP_PKEY *key = X509_REQ_get0_pubkey(request);
    if (!cr_certificate_is_p256(key))
        return cr_openssl_fail(CR_INVALID, "certificate request: its key is not of P-256");
    if (X509_REQ_verify(request, key) != 1)
        return cr_openssl_fail(CR_INVALID, "certificate request: its signature does not verify");
    *out = request;
    request = NULL;
    return CR_OK;
}

enum cr_status cr_certificate_make_member(EVP_PKEY *authority_key, X509 *authority,
                                          struct cr_slice request_der, const char *name, const char *role,
                                          int64_t now, X509 **out)
{
    if (!cr_certificate_is_name(name))
        return cr_fail(CR_INVALID, "member name: 1 to %d of a-z, 0-9 and - are wanted", CR_NAME_SIZE - 1);
    if (!is_role(role)) return cr_fail(CR_INVALID, "member role: \"server\" or \"silo\" is wanted");
    CR_CLEANUP(free_request) X509_REQ *request = NULL;
    CR_TRY(read_request(request_der, &request));
    time_t time = (time_t)now;
    if (X509_cmp_time(X509_get0_notAfter(authority), &time) < 0)
        return cr_fail(CR_DENIED, "the federation's CA has expired");

    char alternative[CR_NAME_SIZE + sizeof "DNS:"];
    snprintf(alternative, sizeof alternative, "DNS:%s", name);
    // A server may call as well as answer; a silo only calls.
    const char *usage = strcmp(role, "server") == 0 ? "serverAuth,clientAuth" : "clientAuth";
    CR_CLEANUP(cr_certificate_release) X509 *certificate = X509_new();
    bool made = certificate && begin(certificate, X509_REQ_get0_pubkey(request), now, MEMBER_DAYS);
    if (made && ASN1_TIME_compare(X509_get0_notAfter(certificate), X509_get0_notAfter(authority)) > 0)
        made = X509_set1_notAfter(certificate, X509_get0_notAfter(authority));
    made = made && add_subject(X509_get_subject_name(certificate), "OU", role) &&
           add_subject(X509_get_subject_name(certificate), "CN", name) &&
           X509_set_issuer_name(certificate, X509_get_subject_name(authority)) &&
           add_extension(certificate, authority, NID_basic_constraints, "critical,CA:FALSE") &&
           add_extension(certificate, authority, NID_key_usage, "critical,digitalSignature") &&
           add_extension(certificate, authority, NID_ext_key_usage, usage) &&
           add_extension(certificate, authority, NID_subject_alt_name, alternative) &&
           add_extension(certificate, authority, NID_subject_key_identifier, "hash") &&
           add_extension(certificate, authority, NID_authority_key_identifier, "keyid:always") &&
           X509_sign(certificate, authority_key, EVP_sha256());
    if (!made) return cr_openssl_fail(CR_INTERNAL, "no certificate for \"%s\" could be made", name);
    *out = certificate;
    certificate = NULL;
    return CR_OK;
}

enum cr_status cr_certificate_check(const EVP_PKEY *key, X509 *certificate, X509 *authority)
{
    if (X509_check_private_key(certificate, key) != 1)
        return cr_openssl_fail(CR_DENIED, "the certificate is for another key");
    if (X509_check_ca(authority) != 1 || !cr_certificate_is_p256(X509_get0_pubkey(authority)))
        return cr_openssl_fail(CR_DENIED, "the CA's certificate is not that of a federation's CA");
    if (X509_cmp(certificate, authority) != 0) {
        char name[CR_NAME_SIZE], role[CR_NAME_SIZE];
        CR_TRY(cr_certificate_subject(certificate, name, role));
    }
    X509_STORE *store = X509_STORE_new();
    X509_STORE_CTX *context = X509_STORE_CTX_new();
    enum cr_status status = CR_OK;
    if (!store || !context || !X509_STORE_add_cert(store, authority) ||
        !X509_STORE_CTX_init(context, store, certificate, NULL)) {
        status = cr_openssl_fail(CR_NO_MEMORY, "certificates cannot be checked");
    } else {
        X509_VERIFY_PARAM *parameters = X509_STORE_CTX_get0_param(context);
        X509_VERIFY_PARAM_set_flags(parameters, X509_V_FLAG_X509_STRICT | X509_V_FLAG_CHECK_SS_SIGNATURE |
                                                    X509_V_FLAG_NO_CHECK_TIME);
        X509_VERIFY_PARAM_set_auth_level(parameters, 2); // 112 bits: no SHA-1, no short keys
        if (X509_verify_cert(context) != 1)
            status = cr_fail(CR_DENIED, "the certificate does not come from this CA: %s",
                             X509_verify_cert_error_string(X509_STORE_CTX_get_error(context)));
    }
    X509_STORE_CTX_free(context);
    X509_STORE_free(store);
    ERR_clear_error(); // a leftover error would be reported as the next failure's reason
    return status;
}

enum cr_status cr_certificate_subject(const void *x509, char name[CR_NAME_SIZE], char role[CR_NAME_SIZE])
{
    char found_name[CR_NAME_SIZE], found_role[CR_NAME_SIZE];
    if (!cr_x509_subject_field(x509, NID_commonName, found_name, sizeof found_name) ||
        !cr_certificate_is_name(found_name) ||
        !cr_x509_subject_field(x509, NID_organizationalUnitName, found_role, sizeof found_role) ||
        !is_role(found_role))
        return cr_fail(CR_DENIED, "a certificate without the name and role of a federation's member");
    strcpy(name, found_name);
    strcpy(role, found_role);
    return CR_OK;
}

enum cr_status cr_certificate_check_time(const void *x509, int64_t time)
{
    int64_t begins, ends;
    char from[CR_CLOCK_TEXT_SIZE], to[CR_CLOCK_TEXT_SIZE], now[CR_CLOCK_TEXT_SIZE];
    CR_TRY(cr_x509_validity(x509, &begins, &ends));
    if (time >= begins && time < ends) return CR_OK;
    cr_clock_format(begins, from);
    cr_clock_format(ends, to);
    cr_clock_format(time, now);
    return cr_fail(CR_DENIED, "it is good from %s to %s, and this machine's clock says %s", from, to, now);
}

enum cr_status cr_certificate_key_digest(const void *x509, unsigned char out[CR_SHA256_SIZE])
{
    unsigned char *der = NULL;
    int size = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(x509), &der);
    if (size <= 0) return cr_openssl_fail(CR_INTERNAL, "a public key cannot be encoded");
    enum cr_status status = cr_sha256((struct cr_slice){der, (size_t)size}, out);
    OPENSSL_free(der);
    return status;
}

enum cr_status cr_certificate_der_key_digest(struct cr_slice der, unsigned char out[CR_SHA256_SIZE])
{
    X509 *certificate;
    CR_TRY(cr_certificate_decode(der, "certificate", &certificate));
    enum cr_status status = cr_certificate_key_digest(certificate, out);
    X509_free(certificate);
    return status;
}
