// attestation/: evidence that a certificate carries or is, and CBOR around it.
#include "appraisal_support.h"
#include "intel_support.h"

#include "attestation/appraise.h"

#define OID_WRAPPER "2.23.133.5.4.9"
#define OID_GRAMINE "1.2.840.113741.1337.6"

// Claims that are not as they should be: a hash by an algorithm that is not known, one that is text, and a
// claim twice.
enum { OTHER_HASH = 9, NO_HASH = 10, TWICE = 11 };

static void put_head(struct cr_buffer *out, unsigned major, size_t number)
{
    if (number < 24) {
        assert_ok(cr_append_u8(out, (uint8_t)(major << 5 | number)));
        return;
    }
    unsigned size = number < 256 ? 1 : number < 65536 ? 2 : 4;
    assert_ok(cr_append_u8(out, (uint8_t)(major << 5 | (size == 1 ? 24 : size == 2 ? 25 : 26))));
    for (size_t i = size; i-- > 0;) assert_ok(cr_append_u8(out, (uint8_t)(number >> (8 * i))));
}

static void put_string(struct cr_buffer *out, unsigned major, const void *bytes, size_t size)
{
    put_head(out, major, size);
    assert_ok(cr_append(out, bytes, size));
}

static void key_der(EVP_PKEY *key, struct cr_buffer *out)
{
    unsigned char *der = NULL;
    int size = i2d_PUBKEY(key, &der);
    assert_ok(cr_append(out, der, (size_t)size));
    OPENSSL_free(der);
}

// {"nonce": h'0102', "pubkey-hash": << [id, hash of the key] >>}
static void put_claims(struct cr_buffer *out, EVP_PKEY *key, unsigned id)
{
    unsigned char hash[64] = {0};
    struct cr_buffer der = {0}, pair = {0};
    size_t size = id == 1 ? 32 : id == 7 ? 48 : 64;
    key_der(key, &der);
    if (id == 1) assert_ok(cr_sha256(cr_buffer_slice(&der), hash));
    if (id == 7) assert_ok(cr_sha384(cr_buffer_slice(&der), hash));
    if (id == 8) assert_ok(cr_sha512(cr_buffer_slice(&der), hash));
    put_head(&pair, 4, 2);
    put_head(&pair, 0, id);
    put_string(&pair, id == NO_HASH ? 3 : 2, hash, size);
    put_head(out, 5, id == TWICE ? 3 : 2);
    if (id == TWICE) {
        put_string(out, 3, "nonce", 5);
        put_string(out, 2, "", 0);
    }
    put_string(out, 3, "nonce", 5);
    put_string(out, 2, "\x01\x02", 2);
    put_string(out, 3, "pubkey-hash", 11);
    put_string(out, 2, pair.data, pair.size);
    cr_buffer_release(&der);
    cr_buffer_release(&pair);
}

// A certificate for a key, with evidence about a key, which should be the same.
struct carrier {
    struct platform platform;
    EVP_PKEY *about;    // NULL: the certificate's own
    unsigned hash_id;   // 0: no claims, as Gramine's older form
    bool change_claims; // after the quote was made
    int64_t ends;
};

static void put_carrier(struct carrier *carrier, struct party *party, struct cr_buffer *der)
{
    struct cr_buffer quote = {0}, claims = {0}, extension = {0};
    *party = new_party("P-384", "RATLS", NULL, false, NOW - DAY, carrier->ends ? carrier->ends : NOW + DAY);
    EVP_PKEY *about = carrier->about ? carrier->about : party->key;
    unsigned char *report_data = carrier->platform.report + (carrier->platform.is_td ? 520 : 320);
    memset(report_data, 0, 64);
    if (carrier->hash_id)
        put_claims(&claims, about, carrier->hash_id);
    else
        key_der(about, &claims);
    assert_ok(cr_sha256(cr_buffer_slice(&claims), report_data));
    platform_quote(&carrier->platform, &quote);
    if (carrier->change_claims) claims.data[8] ^= 1; // in the nonce
    if (carrier->hash_id) {
        put_head(&extension, 6, 60000);
        put_head(&extension, 4, 2);
        put_string(&extension, 2, quote.data, quote.size);
        put_string(&extension, 2, claims.data, claims.size);
    }
    add_raw_extension(party->certificate, carrier->hash_id ? OID_WRAPPER : OID_GRAMINE,
                      carrier->hash_id ? cr_buffer_slice(&extension) : cr_buffer_slice(&quote));
    sign_certificate(party->certificate, party);
    unsigned char *bytes = NULL;
    int size = i2d_X509(party->certificate, &bytes);
    assert_ok(cr_append(der, bytes, (size_t)size));
    OPENSSL_free(bytes);
    cr_buffer_release(&quote);
    cr_buffer_release(&claims);
    cr_buffer_release(&extension);
}

static void appraise_file(const struct platform *p, const struct cr_buffer *file, struct cr_appraisal *out)
{
    CR_CLEANUP(cr_endorsements_release) struct cr_endorsements *endorsements = platform_endorsements(p);
    CR_CLEANUP(cr_evidence_release) struct cr_evidence evidence = {0};
    struct cr_appraisal_policy policy;
    trust(&p->root, "allow_unknown_program: true\n", &policy);
    const struct cr_grounds grounds = {.endorsements = endorsements, .policy = &policy, .time = NOW};
    *out = (struct cr_appraisal){0};
    assert_ok(cr_evidence_find(cr_buffer_slice(file), NULL, &evidence));
    assert_ok(cr_appraise(&evidence, &grounds, out));
    cr_appraisal_policy_release(&policy);
}

static void appraise(struct carrier *carrier, struct cr_appraisal *out)
{
    struct party party;
    CR_CLEANUP(cr_buffer_release) struct cr_buffer der = {0};
    put_carrier(carrier, &party, &der);
    appraise_file(&carrier->platform, &der, out);
    party_free(&party);
}

static void test_certificates_that_carry_evidence(void **state)
{
    (void)state;
    static const unsigned ids[] = {0, 1, 7, 8};
    for (size_t i = 0; i < 4; i++) {
        struct carrier carrier = {.hash_id = ids[i]};
        struct cr_appraisal a;
        platform_make(&carrier.platform, 4, i % 2);
        appraise(&carrier, &a);
        if (cr_appraisal_verdict(&a) != CR_AFFIRMED) fail_msg("%u: %s", ids[i], cr_appraisal_reason(&a));
        assert_int_equal(finding_of(&a, "certificate_key")->outcome, CR_PASSED);
        assert_int_equal(finding_of(&a, "certificate")->outcome, CR_PASSED);
        if (ids[i]) assert_int_equal(finding_of(&a, "claims")->outcome, CR_PASSED);
        cr_appraisal_release(&a);
        platform_free(&carrier.platform);
    }
}

static void test_evidence_about_another_key_is_refused(void **state)
{
    (void)state;
    static const unsigned ids[] = {0, 1, 7, 8};
    EVP_PKEY *other = new_key("P-384");
    for (size_t i = 0; i < 4; i++) {
        struct carrier carrier = {.hash_id = ids[i], .about = other};
        struct cr_appraisal a;
        platform_make(&carrier.platform, 3, false);
        appraise(&carrier, &a);
        assert_true(a.signature_valid);
        assert_only(&a, "certificate_key", CR_REFUSED,
                    ids[i] ? "speaks of another key" : "not bound to the key");
        cr_appraisal_release(&a);
        platform_free(&carrier.platform);
    }
    EVP_PKEY_free(other);
}

static void test_one_thing_wrong(void **state)
{
    (void)state;
    struct carrier carrier = {.hash_id = 1, .change_claims = true};
    struct cr_appraisal a;
    platform_make(&carrier.platform, 3, false);
    appraise(&carrier, &a);
    assert_only(&a, "claims", CR_REFUSED, "not bound to the claims");
    cr_appraisal_release(&a);
    carrier.change_claims = false;
    carrier.ends = NOW - 1;
    appraise(&carrier, &a);
    assert_only(&a, "certificate_validity", CR_REFUSED, "\"RATLS\" expired at");
    cr_appraisal_release(&a);
    carrier.ends = 0;
    struct party party;
    CR_CLEANUP(cr_buffer_release) struct cr_buffer der = {0};
    put_carrier(&carrier, &party, &der);
    der.data[der.size - 1] ^= 1; // in the certificate's signature
    appraise_file(&carrier.platform, &der, &a);
    assert_only(&a, "certificate", CR_REFUSED, "by its own key, does not verify");
    cr_appraisal_release(&a);
    party_free(&party);
    platform_free(&carrier.platform);
}

static void test_claims_that_are_not_read(void **state)
{
    (void)state;
    static const struct {
        unsigned id;
        const char *check, *why;
    } cases[] = {{OTHER_HASH, "certificate_key", "by an algorithm that is not known"},
                 {NO_HASH, "certificate_key", "the claim pubkey-hash is malformed"},
                 {TWICE, "claims_form", "the claims beside the evidence are malformed"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct carrier carrier = {.hash_id = cases[i].id};
        struct cr_appraisal a;
        platform_make(&carrier.platform, 3, false);
        appraise(&carrier, &a);
        assert_int_equal(cr_appraisal_verdict(&a), CR_CONTRADICTED);
        assert_only(&a, cases[i].check, CR_REFUSED, cases[i].why);
        cr_appraisal_release(&a);
        platform_free(&carrier.platform);
    }
}

static void assert_sgx(const struct cr_buffer *file, const struct cr_buffer *quote, size_t claims)
{
    CR_CLEANUP(cr_evidence_release) struct cr_evidence evidence = {0};
    assert_ok(cr_evidence_find(cr_buffer_slice(file), NULL, &evidence));
    assert_int_equal(evidence.type, CR_EVIDENCE_SGX);
    assert_true(cr_slice_equal(cr_buffer_slice(&evidence.bytes), cr_buffer_slice(quote)));
    assert_int_equal(evidence.claims.size, claims);
    assert_int_equal(evidence.certificate.size, 0);
}

// A conceptual message wrapper: a list of type and value, a tag, or a map of several.
static void test_wrappers(void **state)
{
    (void)state;
    static const char type[] = "application/eat+cwt";
    struct platform p;
    CR_CLEANUP(cr_buffer_release)
    struct cr_buffer quote = {0}, record = {0}, tagged = {0}, map = {0}, pair = {0}, binary = {0}, json = {0};
    platform_make(&p, 3, false);
    platform_quote(&p, &quote);
    put_head(&record, 4, 3);
    put_string(&record, 3, type, sizeof type - 1);
    put_string(&record, 2, quote.data, quote.size);
    put_head(&record, 0, 4);
    assert_sgx(&record, &quote, 0);
    put_head(&tagged, 6, 1668576818);
    put_string(&tagged, 2, quote.data, quote.size);
    assert_sgx(&tagged, &quote, 0);
    put_head(&map, 5, 2);
    put_string(&map, 3, "__cmwc_t", 8);
    put_string(&map, 3, "tag:example.org,2026:x", 22);
    put_string(&map, 3, "cpu", 3);
    assert_ok(cr_append(&map, record.data, record.size));
    assert_sgx(&map, &quote, 0);
    put_head(&pair, 4, 2);
    put_string(&pair, 2, quote.data, quote.size);
    put_string(&pair, 2, "claims", 6);
    assert_sgx(&pair, &quote, 6);
    // In JSON, behind text that begins as JSON does and is none.
    assert_ok(cr_append_format(&json, "{\"a\": \"{b\", \"c\": \""));
    put_hex(&json, quote.data, quote.size);
    assert_ok(cr_append_format(&json, "\"}"));
    assert_sgx(&json, &quote, 0);
    struct cr_evidence evidence;
    assert_ok(cr_append_u8(&record, 0));
    assert_fails(CR_INVALID, "no evidence that is known",
                 cr_evidence_find(cr_buffer_slice(&record), NULL, &evidence));
    // Behind so many bytes OpenSSL takes PEM's beginning for that of a line.
    for (size_t i = 0; i < 254; i++) assert_ok(cr_append_u8(&binary, 0));
    put_pem(&binary, &p.pck);
    assert_fails(CR_INVALID, "no evidence that is known",
                 cr_evidence_find(cr_buffer_slice(&binary), NULL, &evidence));
    platform_free(&p);
}

// The PCK certificate by itself, as evidence of what its key is.
static void test_certificates_by_themselves(void **state)
{
    (void)state;
    struct platform p, other;
    platform_make(&p, 3, false);
    platform_make(&other, 3, false);
    p.revoked_by_ca = &other.pck; // of another issuer, whose serial is another
    for (int which = 0; which < 4; which++) {
        CR_CLEANUP(cr_endorsements_release) struct cr_endorsements *endorsements = NULL;
        CR_CLEANUP(cr_evidence_release) struct cr_evidence evidence = {0};
        CR_CLEANUP(cr_buffer_release) struct cr_buffer pem = {0}, issuer = {0};
        CR_CLEANUP(cr_appraisal_release) struct cr_appraisal a = {0};
        struct cr_appraisal_policy policy;
        if (which == 1) p.revoked_by_ca = &p.pck;
        if (which == 2) p.crl_ends = NOW - 1;
        endorsements = platform_endorsements(&p);
        put_pem(&issuer, &p.pck_ca);
        assert_ok(cr_endorsements_add(endorsements, cr_buffer_slice(&issuer)));
        put_pem(&pem, which == 3 ? &other.pck : &p.pck);
        trust(&p.root, "", &policy);
        const struct cr_grounds grounds = {.endorsements = endorsements, .policy = &policy, .time = NOW};
        assert_ok(cr_evidence_find(cr_buffer_slice(&pem), NULL, &evidence));
        assert_int_equal(evidence.type, CR_EVIDENCE_CERTIFICATE);
        assert_ok(cr_appraise(&evidence, &grounds, &a));
        cr_appraisal_policy_release(&policy);
        if (which == 0) assert_int_equal(cr_appraisal_verdict(&a), CR_AFFIRMED);
        if (which == 1 || which == 2)
            assert_only(&a, "revocation", CR_REFUSED, "revoked: \"Intel SGX PCK Certificate\"");
        if (which == 3) assert_only(&a, "key_chain", CR_REFUSED, "no chain from the certificate");
        assert_int_equal(a.signature_valid, which != 3);
    }
    platform_free(&p);
    platform_free(&other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_certificates_that_carry_evidence),
        cmocka_unit_test(test_evidence_about_another_key_is_refused),
        cmocka_unit_test(test_one_thing_wrong),
        cmocka_unit_test(test_claims_that_are_not_read),
        cmocka_unit_test(test_wrappers),
        cmocka_unit_test(test_certificates_by_themselves),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
