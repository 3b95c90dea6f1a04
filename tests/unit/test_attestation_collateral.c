// attestation/: what the certificates, lists and statements beside a quote are held to.
#include "appraisal_support.h"
#include "intel_support.h"

#include "attestation/appraise.h"

// With one more thing among the endorsements.
static void appraise_with(struct platform *p, struct cr_slice more, const char *lines,
                          struct cr_appraisal *out)
{
    CR_CLEANUP(cr_endorsements_release) struct cr_endorsements *endorsements = platform_endorsements(p);
    CR_CLEANUP(cr_buffer_release) struct cr_buffer quote = {0};
    struct cr_appraisal_policy policy;
    platform_quote(p, &quote);
    assert_ok(cr_endorsements_add(endorsements, more));
    trust(&p->root, lines, &policy);
    const struct cr_grounds grounds = {.endorsements = endorsements, .policy = &policy, .time = NOW};
    *out = (struct cr_appraisal){0};
    assert_ok(cr_appraise_quote(cr_buffer_slice(&quote), &grounds, out));
    cr_appraisal_policy_release(&policy);
}

static void assert_refused(struct platform *p, const char *lines, const char *check, const char *part)
{
    struct cr_appraisal a;
    appraise_with(p, (struct cr_slice){NULL, 0}, lines, &a);
    assert_true(a.signature_valid);
    assert_only(&a, check, CR_REFUSED, part);
    cr_appraisal_release(&a);
}

static void assert_status(struct platform *p, struct cr_slice more, const char *status)
{
    struct cr_appraisal a;
    appraise_with(p, more, "allow_unknown_program: true\n", &a);
    assert_string_equal(a.tcb_status, status);
    cr_appraisal_release(&a);
}

#define ZEROS                                                                                                \
    "\"000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000\""

static void test_every_value_of_a_td_is_compared(void **state)
{
    (void)state;
    static const struct {
        size_t at;
        const char *key;
    } cases[] = {{184, "mrconfigid"}, {232, "mrowner"}, {280, "mrownerconfig"}, {472, "rtmr3"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct platform p;
        struct cr_appraisal a;
        char lines[160], check[32];
        platform_make(&p, 4, true);
        snprintf(lines, sizeof lines, "tdx: {%s: " ZEROS "}\n", cases[i].key);
        snprintf(check, sizeof check, "tdx.%s", cases[i].key);
        memset(p.report + cases[i].at, 0, 48);
        appraise_with(&p, (struct cr_slice){NULL, 0}, lines, &a);
        assert_int_equal(finding_of(&a, check)->outcome, CR_PASSED);
        cr_appraisal_release(&a);
        p.report[cases[i].at + 47] = 1;
        assert_refused(&p, lines, check, "is not among the policy's values");
        platform_free(&p);
    }
}

// The first two bytes of a TD's SVNs are the module's own where it has a version, else a component's.
static void test_modules(void **state)
{
    (void)state;
    const struct cr_slice none = {NULL, 0};
    struct platform p;
    platform_make(&p, 4, true);
    p.td_svn = 200;
    assert_status(&p, none, "UpToDate");
    p.report[1] = 0;
    assert_refused(&p, "", "tcb_status", "the platform is Unrecognized");
    p.td_svn = 5;
    assert_refused(&p, "", "tcb_status", "the platform is Unrecognized");
    p.td_svn = 4;
    assert_status(&p, none, "UpToDate");
    p.report[64] = 1; // mrsignerseam
    assert_refused(&p, "", "tdx_module", "another mrsigner than Intel's");
    p.report[64] = 0;
    for (unsigned char version = 0; version <= 3; version = (unsigned char)(version + 3)) {
        p.report[1] = version;
        p.report[112] = 1; // attributes of the module
        assert_refused(&p, "", "tdx_module", "another attributes than Intel's");
        p.report[112] = 0;
    }
    platform_free(&p);
}

static void test_the_pces_svn_counts(void **state)
{
    (void)state;
    struct platform p;
    platform_make(&p, 3, false);
    p.pce_svn = 6;
    assert_refused(&p, "", "tcb_status", "the platform is OutOfDate");
    platform_free(&p);
}

// Of two that Intel has signed, the one of the later evaluation, unless it is good no more.
static void test_the_newest_statement_counts(void **state)
{
    (void)state;
    static const struct {
        unsigned evaluation;
        int64_t ends;
        const char *status;
    } cases[] = {{18, NOW + DAY, "OutOfDate"}, {16, NOW + DAY, "UpToDate"}, {18, NOW - 1, "UpToDate"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct platform p;
        CR_CLEANUP(cr_buffer_release) struct cr_buffer info = {0};
        platform_make(&p, 3, false);
        struct platform other = p;
        other.evaluation = cases[i].evaluation;
        other.info_ends = cases[i].ends;
        other.platform_status = "OutOfDate";
        put_tcb_info(&info, &other);
        assert_status(&p, cr_buffer_slice(&info), cases[i].status);
        platform_free(&p);
    }
}

static void test_a_signer_that_has_ended(void **state)
{
    (void)state;
    struct platform p;
    struct cr_appraisal a;
    platform_make(&p, 3, false);
    ASN1_TIME_set(X509_getm_notAfter(p.signer.certificate), NOW - 1);
    sign_certificate(p.signer.certificate, &p.root);
    for (int allowed = 0; allowed < 2; allowed++) {
        appraise_with(&p, (struct cr_slice){NULL, 0}, allowed ? "allow_expired_collateral: true\n" : "", &a);
        static const char *const checks[] = {"tcb_info", "qe_identity"};
        for (size_t i = 0; i < 2; i++) {
            assert_int_equal(finding_of(&a, checks[i])->outcome, allowed ? CR_ADMITTED : CR_REFUSED);
            assert_non_null(strstr(finding_of(&a, checks[i])->reason,
                                   "its signer's certificate ended at 2025-06-15T15:06:39Z"));
        }
        cr_appraisal_release(&a);
    }
    platform_free(&p);
}

static void assert_no_chain(struct platform *p)
{
    struct cr_appraisal a;
    appraise_with(p, (struct cr_slice){NULL, 0}, "", &a);
    assert_false(a.signature_valid);
    assert_int_equal(finding_of(&a, "pck_chain")->outcome, CR_REFUSED);
    cr_appraisal_release(&a);
}

// Anybody can make a certificate with the root's key in it, and nobody else one that this key has signed.
static void test_a_root_signs_itself(void **state)
{
    (void)state;
    struct platform p, other;
    platform_make(&p, 3, false);
    platform_make(&other, 3, false);
    p.certification = 4;
    assert_status(&p, (struct cr_slice){NULL, 0}, "UpToDate");
    assert_true(X509_sign(p.root.certificate, other.root.key, EVP_sha256()) > 0);
    assert_no_chain(&p);
    platform_free(&p);
    platform_free(&other);
}

static void test_weak_hashes_sign_nothing(void **state)
{
    (void)state;
    struct platform p;
    platform_make(&p, 3, false);
    bool made = X509_sign(p.pck.certificate, p.pck_ca.key, EVP_sha1()) > 0;
    if (made) assert_no_chain(&p);
    platform_free(&p);
    if (!made) skip(); // OpenSSL itself makes none
}

// Evidence of an earlier time is appraised as it would have been then.
static void test_what_is_revoked_later(void **state)
{
    (void)state;
    for (int later = 0; later < 2; later++) {
        struct platform p;
        struct cr_appraisal a;
        CR_CLEANUP(cr_buffer_release) struct cr_buffer lists = {0};
        platform_make(&p, 3, false);
        p.no_crls = true;
        put_crl(&lists, &p.pck_ca, &p.pck, NOW - DAY, NOW + DAY);
        const unsigned char *at = lists.data;
        X509_CRL *list = d2i_X509_CRL(NULL, &at, (long)lists.size);
        ASN1_TIME *date = ASN1_TIME_set(NULL, NOW + later);
        X509_REVOKED_set_revocationDate(sk_X509_REVOKED_value(X509_CRL_get_REVOKED(list), 0), date);
        assert_true(X509_CRL_sign(list, p.pck_ca.key, EVP_sha256()) > 0);
        unsigned char *der = NULL;
        int size = i2d_X509_CRL(list, &der);
        assert_true(size > 0);
        appraise_with(&p, (struct cr_slice){der, (size_t)size}, "allow_missing_crl: true\n", &a);
        assert_int_equal(finding_of(&a, "revocation")->outcome, later ? CR_ADMITTED : CR_REFUSED);
        cr_appraisal_release(&a);
        OPENSSL_free(der);
        ASN1_TIME_free(date);
        X509_CRL_free(list);
        platform_free(&p);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_value_of_a_td_is_compared),
        cmocka_unit_test(test_modules),
        cmocka_unit_test(test_the_pces_svn_counts),
        cmocka_unit_test(test_the_newest_statement_counts),
        cmocka_unit_test(test_a_signer_that_has_ended),
        cmocka_unit_test(test_a_root_signs_itself),
        cmocka_unit_test(test_weak_hashes_sign_nothing),
        cmocka_unit_test(test_what_is_revoked_later),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
