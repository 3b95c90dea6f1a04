// crypto/identity.h: issuing, installing, saving; what must be refused.
#include "sealing_support.h"
#include "temporary.h"

#include "base/file.h"
#include "crypto/identity.h"
#include "crypto/signature.h"
#include "crypto/x509.h"

#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <sys/stat.h>

enum { NOW = 1790000000 };

#define IDENTITY CR_CLEANUP(cr_identity_release) struct cr_identity *
#define BUFFER CR_CLEANUP(cr_buffer_release) struct cr_buffer

static struct cr_identity *new_authority(void)
{
    struct cr_identity *authority = NULL;
    assert_ok(cr_identity_new_authority("test federation", NOW, &authority));
    return authority;
}

static struct cr_identity *new_member(const struct cr_identity *authority, const char *name, const char *role)
{
    struct cr_identity *member = NULL;
    BUFFER request = {0}, certificate = {0}, root = {0};
    assert_ok(cr_identity_new(&member));
    assert_null(cr_identity_certificate(member));
    assert_ok(cr_identity_request(member, &request));
    assert_ok(cr_identity_issue(authority, cr_buffer_slice(&request), name, role, NOW, &certificate));
    assert_ok(cr_identity_authority_der(authority, &root));
    assert_ok(cr_identity_install(member, cr_buffer_slice(&certificate), cr_buffer_slice(&root)));
    return member;
}

// Verifies as libssl will, at a time and for a purpose; gives OpenSSL's X509_V_ code.
static int verify(const struct cr_identity *authority, const struct cr_identity *member, int64_t at,
                  int purpose)
{
    X509_STORE *store = X509_STORE_new();
    X509_STORE_CTX *context = X509_STORE_CTX_new();
    X509_STORE_add_cert(store, cr_identity_certificate(authority));
    X509_STORE_CTX_init(context, store, cr_identity_certificate(member), NULL);
    X509_VERIFY_PARAM *parameters = X509_STORE_CTX_get0_param(context);
    X509_VERIFY_PARAM_set_time(parameters, (time_t)at);
    X509_VERIFY_PARAM_set_purpose(parameters, purpose);
    X509_VERIFY_PARAM_set_flags(parameters, X509_V_FLAG_X509_STRICT);
    X509_verify_cert(context);
    int code = X509_STORE_CTX_get_error(context);
    X509_STORE_CTX_free(context);
    X509_STORE_free(store);
    return code;
}

static void members_verify_in_their_role(void **state)
{
    (void)state;
    IDENTITY authority = new_authority();
    IDENTITY silo = new_member(authority, "hospital-1", "silo");
    IDENTITY server = new_member(authority, "server", "server");
    char name[CR_NAME_SIZE], role[CR_NAME_SIZE];
    assert_ok(cr_certificate_subject(cr_identity_certificate(silo), name, role));
    assert_string_equal(name, "hospital-1");
    assert_string_equal(role, "silo");
    assert_ok(cr_certificate_subject(cr_identity_certificate(server), name, role));
    assert_string_equal(role, "server");

    assert_int_equal(verify(authority, silo, NOW, X509_PURPOSE_SSL_CLIENT), X509_V_OK);
    assert_int_equal(verify(authority, silo, NOW, X509_PURPOSE_SSL_SERVER), X509_V_ERR_INVALID_PURPOSE);
    assert_int_equal(verify(authority, server, NOW, X509_PURPOSE_SSL_SERVER), X509_V_OK);
    assert_int_equal(verify(authority, server, NOW, X509_PURPOSE_SSL_CLIENT), X509_V_OK);
    // From an hour before the issue to two years after.
    const int64_t hour = 3600, year = 365 * 24 * hour;
    assert_int_equal(verify(authority, silo, NOW - hour + 1, X509_PURPOSE_SSL_CLIENT), X509_V_OK);
    assert_int_not_equal(verify(authority, silo, NOW - hour - 2, X509_PURPOSE_SSL_CLIENT), X509_V_OK);
    assert_int_equal(verify(authority, silo, NOW + 2 * year, X509_PURPOSE_SSL_CLIENT), X509_V_OK);
    assert_int_equal(verify(authority, silo, NOW + 2 * year + 48 * hour, X509_PURPOSE_SSL_CLIENT),
                     X509_V_ERR_CERT_HAS_EXPIRED);

    X509 *certificate = cr_identity_certificate(silo);
    assert_int_equal(X509_check_host(certificate, "hospital-1", 0, 0, NULL), 1);
    assert_int_equal(X509_check_host(certificate, "hospital-2", 0, 0, NULL), 0);
    assert_int_equal(X509_check_ca(certificate), 0);
    assert_non_null(X509_get0_subject_key_id(certificate));
    assert_non_null(X509_get0_authority_key_id(certificate));
    assert_int_not_equal(ASN1_INTEGER_cmp(X509_get0_serialNumber(certificate),
                                          X509_get0_serialNumber(cr_identity_certificate(server))),
                         0);
    X509 *root = cr_identity_certificate(authority);
    assert_int_equal(X509_get_pathlen(root), 0);
    assert_int_equal(X509_get_key_usage(root), X509v3_KU_KEY_CERT_SIGN | X509v3_KU_CRL_SIGN);

    unsigned char of_member[CR_SHA256_SIZE], of_authority[CR_SHA256_SIZE], expected[CR_SHA256_SIZE];
    assert_ok(cr_identity_fingerprint(silo, of_member));
    assert_ok(cr_identity_fingerprint(authority, of_authority));
    assert_true(X509_digest(root, EVP_sha256(), expected, NULL));
    assert_memory_equal(of_member, expected, CR_SHA256_SIZE);
    assert_memory_equal(of_authority, expected, CR_SHA256_SIZE);
}

static void a_certificate_ends_with_its_ca(void **state)
{
    (void)state;
    IDENTITY authority = new_authority();
    IDENTITY member = NULL;
    BUFFER request = {0}, certificate = {0};
    assert_ok(cr_identity_new(&member));
    assert_ok(cr_identity_request(member, &request));
    const int64_t year = 365 * 24 * 3600;
    assert_ok(cr_identity_issue(authority, cr_buffer_slice(&request), "late", "silo", NOW + 9 * year,
                                &certificate));
    const unsigned char *at = certificate.data;
    X509 *issued = d2i_X509(NULL, &at, (long)certificate.size);
    assert_non_null(issued);
    assert_int_equal(
        ASN1_TIME_compare(X509_get0_notAfter(issued), X509_get0_notAfter(cr_identity_certificate(authority))),
        0);
    X509_free(issued);
    assert_fails(CR_DENIED, "CA has expired",
                 cr_identity_issue(authority, cr_buffer_slice(&request), "later", "silo", NOW + 11 * year,
                                   &certificate));
}

static void requests_are_checked(void **state)
{
    (void)state;
    IDENTITY authority = new_authority();
    IDENTITY member = NULL;
    BUFFER request = {0}, out = {0};
    assert_ok(cr_identity_new(&member));
    assert_ok(cr_identity_request(member, &request));
    struct cr_slice good = cr_buffer_slice(&request);

    static const char *const names[] = {"",
                                        "Upper",
                                        "dot.ted",
                                        "a,DNS:b",
                                        "sp ace",
                                        "a\n",
                                        "0123456789012345678901234567890123456789012345678901234567890123"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        assert_fails(CR_INVALID, "member name",
                     cr_identity_issue(authority, good, names[i], "silo", NOW, &out));
    assert_fails(CR_INVALID, "member role", cr_identity_issue(authority, good, "a", "owner", NOW, &out));
    assert_fails(CR_INTERNAL, "no CA", cr_identity_issue(member, good, "a", "silo", NOW, &out));

    // Cut short anywhere, continued, or with any one bit of it changed.
    for (size_t size = 0; size < good.size; size++) {
        unsigned char *exact = malloc(size + 1);
        memcpy(exact, good.data, size);
        assert_fails(CR_INVALID, "certificate request",
                     cr_identity_issue(authority, (struct cr_slice){exact, size}, "a", "silo", NOW, &out));
        free(exact);
    }
    BUFFER changed = {0};
    assert_ok(cr_append(&changed, good.data, good.size));
    for (size_t bit = 0; bit < 8 * good.size; bit++) {
        changed.data[bit / 8] ^= (unsigned char)(1u << bit % 8);
        assert_fails(CR_INVALID, "certificate request",
                     cr_identity_issue(authority, cr_buffer_slice(&changed), "a", "silo", NOW, &out));
        changed.data[bit / 8] ^= (unsigned char)(1u << bit % 8);
    }
    assert_ok(cr_append_u8(&changed, 0));
    assert_fails(CR_INVALID, "after its end",
                 cr_identity_issue(authority, cr_buffer_slice(&changed), "a", "silo", NOW, &out));

    static unsigned char large[1 << 15];
    assert_fails(
        CR_INVALID, "32768 bytes are too many",
        cr_identity_issue(authority, (struct cr_slice){large, sizeof large}, "a", "silo", NOW, &out));

    // A request for a key of another kind.
    EVP_PKEY *rsa = EVP_RSA_gen(1024);
    X509_REQ *alien = X509_REQ_new();
    unsigned char *der = NULL;
    X509_REQ_set_pubkey(alien, rsa);
    X509_REQ_sign(alien, rsa, EVP_sha256());
    int size = i2d_X509_REQ(alien, &der);
    assert_true(size > 0);
    assert_fails(CR_INVALID, "not of P-256",
                 cr_identity_issue(authority, (struct cr_slice){der, (size_t)size}, "a", "silo", NOW, &out));
    OPENSSL_free(der);
    X509_REQ_free(alien);
    EVP_PKEY_free(rsa);
    assert_int_equal(out.size, 0);
}

static void alien_certificates_are_not_installed(void **state)
{
    (void)state;
    IDENTITY authority = new_authority();
    IDENTITY imposter = new_authority(); // of the same name
    IDENTITY member = new_member(authority, "a", "silo");
    IDENTITY other = NULL;
    BUFFER request = {0}, certificate = {0}, root = {0}, false_root = {0}, sibling = {0};
    assert_ok(cr_identity_new(&other));
    assert_ok(cr_identity_request(other, &request));
    assert_ok(cr_identity_issue(authority, cr_buffer_slice(&request), "b", "silo", NOW, &certificate));
    assert_ok(cr_identity_authority_der(authority, &root));
    assert_ok(cr_identity_authority_der(imposter, &false_root));
    assert_ok(cr_identity_issue(imposter, cr_buffer_slice(&request), "b", "silo", NOW, &sibling));

    struct cr_slice good = cr_buffer_slice(&certificate), ca = cr_buffer_slice(&root);
    assert_fails(CR_DENIED, "another key", cr_identity_install(member, good, ca));
    assert_fails(CR_DENIED, "does not come from this CA",
                 cr_identity_install(other, good, cr_buffer_slice(&false_root)));
    assert_fails(CR_DENIED, "does not come from this CA",
                 cr_identity_install(other, cr_buffer_slice(&sibling), ca));
    assert_fails(CR_DENIED, "not that of a federation's CA", cr_identity_install(other, good, good));
    assert_fails(CR_INVALID, "the certificate: not a DER certificate",
                 cr_identity_install(other, (struct cr_slice){NULL, 0}, ca));
    assert_fails(CR_INVALID, "the CA's certificate: not a DER",
                 cr_identity_install(other, good, (struct cr_slice){ca.data, ca.size - 1}));
    assert_ok(cr_append_u8(&root, 0));
    assert_fails(CR_INVALID, "after its end", cr_identity_install(other, good, cr_buffer_slice(&root)));
    assert_null(cr_identity_certificate(other));
    assert_fails(CR_INTERNAL, "has no CA yet", cr_identity_authority_der(other, &root));
    root.size--;
    assert_ok(cr_identity_install(other, good, cr_buffer_slice(&root)));

    char name[CR_NAME_SIZE] = "kept", role[CR_NAME_SIZE];
    assert_fails(CR_DENIED, "name and role",
                 cr_certificate_subject(cr_identity_certificate(authority), name, role));
    assert_string_equal(name, "kept");
}

static void identities_are_kept_in_files(void **state)
{
    (void)state;
    IDENTITY authority = new_authority();
    IDENTITY member = new_member(authority, "a", "silo");
    char home[256];
    snprintf(home, sizeof home, "%s/deep/member", directory);
    assert_ok(cr_identity_save(member, home, NULL));
    struct stat about;
    assert_int_equal(stat(in_directory("deep/member/key.pem"), &about), 0);
    assert_int_equal(about.st_mode & 0777, 0600);
    IDENTITY loaded = NULL;
    assert_ok(cr_identity_load(home, NULL, &loaded));
    assert_int_equal(EVP_PKEY_eq(cr_identity_key(loaded), cr_identity_key(member)), 1);
    assert_int_equal(X509_cmp(cr_identity_certificate(loaded), cr_identity_certificate(member)), 0);
    assert_int_equal(X509_cmp(cr_identity_authority(loaded), cr_identity_certificate(authority)), 0);

    // A CA that was saved issues again.
    assert_ok(cr_identity_save(authority, in_directory("authority"), NULL));
    IDENTITY again = NULL;
    assert_ok(cr_identity_load(in_directory("authority"), NULL, &again));
    IDENTITY later = new_member(again, "b", "silo");
    assert_int_equal(verify(authority, later, NOW, X509_PURPOSE_SSL_CLIENT), X509_V_OK);

    // A key whose certificate is still to come.
    IDENTITY bare = NULL;
    IDENTITY bare_loaded = NULL;
    assert_ok(cr_identity_new(&bare));
    assert_ok(cr_identity_save(bare, in_directory("bare"), NULL));
    assert_ok(cr_identity_load(in_directory("bare"), NULL, &bare_loaded));
    assert_null(cr_identity_certificate(bare_loaded));

    struct cr_identity *refused = NULL;
    assert_fails(CR_NOT_FOUND, "key.pem", cr_identity_load(in_directory("nowhere"), NULL, &refused));
    assert_int_equal(chmod(in_directory("bare/key.pem"), 0640), 0);
    assert_fails(CR_DENIED, "chmod 600", cr_identity_load(in_directory("bare"), NULL, &refused));
    // Another's certificate beside the key.
    assert_ok(cr_identity_save(bare, home, NULL));
    assert_fails(CR_DENIED, "another key", cr_identity_load(home, NULL, &refused));
    assert_ok(cr_file_write(in_directory("deep/member/key.pem"), cr_slice_of_string("-----BEGIN x"), true));
    assert_fails(CR_INVALID, "key.pem: not a private key", cr_identity_load(home, NULL, &refused));
    assert_ok(cr_file_write(in_directory("deep/member/key.pem"), cr_slice_of_string(""), true));
    assert_fails(CR_INVALID, "key.pem: not a PEM file", cr_identity_load(home, NULL, &refused));
    BIO *other = BIO_new(BIO_s_mem());
    EVP_PKEY *longer = EVP_EC_gen("P-384");
    char *text;
    PEM_write_bio_PrivateKey(other, longer, NULL, NULL, 0, NULL, NULL);
    long length = BIO_get_mem_data(other, &text);
    assert_ok(cr_file_write(in_directory("deep/member/key.pem"),
                            (struct cr_slice){(unsigned char *)text, (size_t)length}, true));
    BIO_free(other);
    EVP_PKEY_free(longer);
    assert_fails(CR_INVALID, "key.pem: not a P-256 key", cr_identity_load(home, NULL, &refused));
    // An encrypted key is refused instead of a password being asked for.
    BIO *bio = BIO_new(BIO_s_mem());
    char password[] = "secret", *pem;
    PEM_write_bio_PKCS8PrivateKey(bio, cr_identity_key(bare), EVP_aes_128_cbc(), password, 6, NULL, NULL);
    long size = BIO_get_mem_data(bio, &pem);
    assert_ok(cr_file_write(in_directory("deep/member/key.pem"),
                            (struct cr_slice){(unsigned char *)pem, (size_t)size}, true));
    BIO_free(bio);
    assert_fails(CR_INVALID, "key.pem: not a private key", cr_identity_load(home, NULL, &refused));
    assert_null(refused);
}

static void a_sealed_key_is_nowhere_in_the_clear(void **state)
{
    (void)state;
    const struct cr_sealing sealing = {&test_key, "some key", {1}};
    struct cr_sealing other = sealing;
    IDENTITY authority = new_authority();
    IDENTITY member = new_member(authority, "a", "silo");
    unsigned char fingerprint[CR_SHA256_SIZE], read[CR_SHA256_SIZE];
    assert_ok(cr_identity_fingerprint(authority, fingerprint));
    assert_fails(CR_NOT_FOUND, "authority.pem", cr_identity_read_fingerprint(in_directory("sealed"), read));
    assert_false(cr_identity_is_kept(in_directory("sealed"), &sealing));
    assert_ok(cr_identity_save(member, in_directory("sealed"), &sealing));
    assert_true(cr_identity_is_kept(in_directory("sealed"), &sealing));
    assert_false(cr_identity_is_kept(in_directory("sealed"), NULL));
    IDENTITY loaded = NULL;
    assert_ok(cr_identity_load(in_directory("sealed"), &sealing, &loaded));
    assert_int_equal(EVP_PKEY_eq(cr_identity_key(loaded), cr_identity_key(member)), 1);
    assert_ok(cr_identity_read_fingerprint(in_directory("sealed"), read));
    assert_memory_equal(read, fingerprint, sizeof read);
    struct cr_identity *refused = NULL;
    assert_fails(CR_INVALID, "the key there is sealed",
                 cr_identity_load_or_make(in_directory("sealed"), &refused));
    // One that was in the clear, and is not any more.
    IDENTITY clear = NULL;
    IDENTITY taken = NULL;
    assert_ok(cr_identity_seal(in_directory("later"), &sealing));
    assert_ok(cr_identity_load_or_make(in_directory("later"), &clear));
    for (int i = 0; i < 2; i++) {
        assert_ok(cr_identity_seal(in_directory("later"), &sealing));
        assert_false(cr_file_exists(in_directory("later/key.pem")));
        if (i == 0)
            assert_ok(cr_identity_save(clear, in_directory("later"), NULL)); // as a kill would leave it
    }
    assert_false(cr_file_exists(in_directory("later/key.pem")));
    assert_ok(cr_identity_load(in_directory("later"), &sealing, &taken));
    assert_int_equal(EVP_PKEY_eq(cr_identity_key(taken), cr_identity_key(clear)), 1);
    other.bound[0] = 2;
    assert_fails(CR_INVALID, "key.sealed", cr_identity_load(in_directory("sealed"), &other, &refused));
    assert_ok(cr_file_write(in_directory("sealed/key.sealed"), cr_slice_of_string("-----BEGIN x"), true));
    assert_fails(CR_INVALID, "key.sealed: not a sealed file",
                 cr_identity_load(in_directory("sealed"), &sealing, &refused));
}

static void signs_for_its_point_alone(void **state)
{
    (void)state;
    IDENTITY signer = NULL;
    IDENTITY other = NULL;
    unsigned char point[CR_IDENTITY_POINT_SIZE], others[CR_IDENTITY_POINT_SIZE];
    unsigned char signature[CR_IDENTITY_SIGNATURE_SIZE];
    const struct cr_slice message = cr_slice_of_string("a message"), key = {point, sizeof point};
    const struct cr_slice signed_by = {signature, sizeof signature};
    assert_ok(cr_identity_new(&signer));
    assert_ok(cr_identity_new(&other));
    assert_ok(cr_identity_point(signer, point));
    assert_ok(cr_identity_point(other, others));
    // Often enough that numbers with leading zeros are among them.
    for (size_t i = 0; i < 600; i++) {
        assert_ok(cr_identity_sign(signer, message, signature));
        assert_ok(cr_ecdsa_verify(key, message, signed_by));
    }
    assert_fails(CR_DENIED, "does not verify",
                 cr_ecdsa_verify(key, cr_slice_of_string("another"), signed_by));
    assert_fails(CR_DENIED, "does not verify",
                 cr_ecdsa_verify((struct cr_slice){others, sizeof others}, message, signed_by));
    signature[40] ^= 1;
    assert_fails(CR_DENIED, "does not verify", cr_ecdsa_verify(key, message, signed_by));
}

// Keys of curves that no evidence is signed by, and numbers that are no key.
static void other_keys_verify_nothing(void **state)
{
    (void)state;
    static const unsigned char number[] = {0xc5, 1};
    const struct cr_slice message = cr_slice_of_string("message"), some = {number, sizeof number};
    static unsigned char long_exponent[9], long_modulus[16384 / 8 + 1];
    for (int kind = 0; kind < 2; kind++) {
        EVP_PKEY *key = kind ? EVP_EC_gen("secp521r1") : EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
        X509 *certificate = X509_new();
        ASN1_TIME_set(X509_getm_notBefore(certificate), NOW);
        ASN1_TIME_set(X509_getm_notAfter(certificate), NOW + 1);
        assert_int_equal(X509_set_pubkey(certificate, key), 1);
        assert_true(X509_sign(certificate, key, kind ? EVP_sha256() : NULL) > 0);
        assert_fails(CR_DENIED, "neither of P-256, of P-384 nor of RSA",
                     cr_x509_verify((const struct cr_x509 *)certificate, message, some));
        X509_free(certificate);
        EVP_PKEY_free(key);
    }
    const struct {
        struct cr_slice modulus, exponent;
    } cases[] = {{{number, 0}, some},
                 {some, {number, 0}},
                 {some, {long_exponent, sizeof long_exponent}},
                 {{long_modulus, sizeof long_modulus}, some}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_fails(CR_DENIED, "does not verify",
                     cr_rsa_verify(cases[i].modulus, cases[i].exponent, message, some));
}

// The fingerprint of a key is that of its certificate's, whoever computes it.
static void test_fingerprints_of_keys(void **state)
{
    (void)state;
    IDENTITY authority = new_authority();
    IDENTITY member = new_member(authority, "anne", "silo");
    IDENTITY again = NULL;
    unsigned char of_key[CR_SHA256_SIZE], of_certificate[CR_SHA256_SIZE], of_loaded[CR_SHA256_SIZE];
    assert_ok(cr_identity_key_digest(member, of_key));
    assert_ok(cr_certificate_key_digest(cr_identity_certificate(member), of_certificate));
    assert_memory_equal(of_key, of_certificate, sizeof of_key);
    IDENTITY made = NULL;
    assert_ok(cr_identity_load_or_make(in_directory("made"), &made));
    assert_ok(cr_identity_load_or_make(in_directory("made"), &again));
    assert_ok(cr_identity_key_digest(made, of_key));
    assert_ok(cr_identity_key_digest(again, of_loaded));
    assert_memory_equal(of_key, of_loaded, sizeof of_key);
    assert_memory_not_equal(of_key, of_certificate, sizeof of_key);
}

// What a terminal would obey, or another reader would take for two names or the half of one.
static void a_subject_has_one_name(void **state)
{
    (void)state;
    static char longer[] = "one-hundred-and-twenty-characters-are-too-many-for-the-name-of-a-member-"
                           "and-as-many-as-that-are-too-many-to-be-shown-in-a-line";
    static const struct {
        const char *name;
        int size;
        const char *second;
        bool member, shown;
    } cases[] = {{"anne", 4, NULL, true, true},
                 {"Anne & Sons", 11, NULL, false, true},
                 {"anne\0ben", 8, NULL, false, false},
                 {"anne", 4, "ben", false, false},
                 {"an\x1b[2Jne", 8, NULL, false, false},
                 {"anne\x7f", 5, NULL, false, false},
                 {"", 0, NULL, false, false},
                 {longer, sizeof longer - 1, NULL, false, false}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        X509 *certificate = X509_new();
        X509_NAME *subject = X509_NAME_new();
        for (int second = 0; second <= (cases[i].second != NULL); second++)
            assert_int_equal(
                X509_NAME_add_entry_by_NID(subject, NID_commonName, V_ASN1_UTF8STRING,
                                           (const unsigned char *)(second ? cases[i].second : cases[i].name),
                                           second ? -1 : cases[i].size, -1, 0),
                1);
        assert_int_equal(X509_NAME_add_entry_by_NID(subject, NID_organizationalUnitName, V_ASN1_UTF8STRING,
                                                    (const unsigned char *)"silo", -1, -1, 0),
                         1);
        assert_int_equal(X509_set_subject_name(certificate, subject), 1);
        char name[CR_NAME_SIZE], role[CR_NAME_SIZE], shown[CR_X509_NAME_SIZE] = "as before";
        if (cases[i].member) {
            assert_ok(cr_certificate_subject(certificate, name, role));
            assert_string_equal(name, cases[i].name);
            assert_string_equal(role, "silo");
        } else {
            assert_fails(CR_DENIED, "without the name and role",
                         cr_certificate_subject(certificate, name, role));
        }
        cr_x509_common_name((const struct cr_x509 *)certificate, shown);
        assert_string_equal(shown, cases[i].shown ? cases[i].name : "");
        X509_NAME_free(subject);
        X509_free(certificate);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fingerprints_of_keys),
        cmocka_unit_test(members_verify_in_their_role),
        cmocka_unit_test(a_certificate_ends_with_its_ca),
        cmocka_unit_test(requests_are_checked),
        cmocka_unit_test(alien_certificates_are_not_installed),
        cmocka_unit_test(identities_are_kept_in_files),
        cmocka_unit_test(a_sealed_key_is_nowhere_in_the_clear),
        cmocka_unit_test(signs_for_its_point_alone),
        cmocka_unit_test(other_keys_verify_nothing),
        cmocka_unit_test(a_subject_has_one_name),
    };
    return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
