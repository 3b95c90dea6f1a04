// attestation/: SGX and TDX quotes by a platform of our own, whole and with one thing wrong at a time.
#include "appraisal_support.h"
#include "intel_support.h"

#include "attestation/appraise.h"
#include "attestation/quote.h"

enum { QUOTE_SIGNATURE_AT_SGX3 = HEADER + REPORT_SIZE + 4 };

static const char known_enclave[] =
    "sgx: {mrenclave: a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1}\n";

// The policy that knows the TD of platform_make.
static void put_known_td(struct cr_buffer *yaml)
{
    assert_ok(cr_append_format(yaml, "tdx:\n"));
    for (int i = -1; i < 3; i++) {
        if (i < 0)
            assert_ok(cr_append_format(yaml, "  mrtd: "));
        else
            assert_ok(cr_append_format(yaml, "  rtmr%d: ", i));
        for (size_t k = 0; k < 48; k++) assert_ok(cr_append_format(yaml, "%02x", i < 0 ? 0xa1 : 0xb0 + i));
        assert_ok(cr_append_format(yaml, "\n"));
    }
}

// Appraises bytes under the platform's own root and more lines of policy.
static void appraise_bytes(const struct platform *p, struct cr_slice bytes, const char *lines, int64_t time,
                           struct cr_appraisal *out)
{
    CR_CLEANUP(cr_endorsements_release) struct cr_endorsements *endorsements = platform_endorsements(p);
    struct cr_appraisal_policy policy;
    trust(&p->root, lines, &policy);
    const struct cr_grounds grounds = {.endorsements = endorsements, .policy = &policy, .time = time};
    *out = (struct cr_appraisal){0};
    assert_ok(cr_appraise_quote(bytes, &grounds, out));
    cr_appraisal_policy_release(&policy);
}

static void appraise(struct platform *p, const char *lines, struct cr_appraisal *out)
{
    CR_CLEANUP(cr_buffer_release) struct cr_buffer quote = {0};
    platform_quote(p, &quote);
    appraise_bytes(p, cr_buffer_slice(&quote), lines, NOW, out);
}

// Under these lines of policy this one check comes to that, for this reason.
static void appraises_to(struct platform *p, const char *lines, const char *check, enum cr_outcome outcome,
                         const char *why)
{
    struct cr_appraisal a;
    appraise(p, lines, &a);
    assert_only(&a, check, outcome, why);
    cr_appraisal_release(&a);
}

static void test_whole_quotes_are_affirmed(void **state)
{
    (void)state;
    static const struct {
        uint16_t version;
        bool is_td;
        uint16_t body_type;
    } kinds[] = {{3, false, 1}, {4, false, 1}, {5, false, 1}, {4, true, 2}, {5, true, 2}, {5, true, 3}};
    CR_CLEANUP(cr_buffer_release) struct cr_buffer known = {0};
    put_known_td(&known);
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        struct platform p;
        struct cr_appraisal a;
        platform_make(&p, kinds[i].version, kinds[i].is_td);
        p.body_type = kinds[i].body_type;
        appraise(&p, kinds[i].is_td ? cr_buffer_text(&known) : known_enclave, &a);
        if (cr_appraisal_verdict(&a) != CR_AFFIRMED)
            fail_msg("version %u: %s", p.version, cr_appraisal_reason(&a));
        assert_true(a.signature_valid);
        assert_false(a.debug);
        assert_string_equal(a.tcb_status, "UpToDate");
        cr_appraisal_release(&a);
        // Without reference values nothing is wrong, but which program it is stays unknown.
        appraise(&p, "", &a);
        assert_int_equal(cr_appraisal_verdict(&a), CR_UNAFFIRMED);
        assert_only(&a, "program", CR_UNCHECKED, "nothing says that this is the right program");
        cr_appraisal_release(&a);
        appraise(&p, "allow_unknown_program: true\n", &a);
        assert_int_equal(cr_appraisal_verdict(&a), CR_AFFIRMED);
        assert_only(&a, "program", CR_ADMITTED, "allow_unknown_program");
        cr_appraisal_release(&a);
        platform_free(&p);
    }
}

static void test_every_flipped_bit_is_found(void **state)
{
    (void)state;
    for (int kind = 0; kind < 3; kind++) {
        struct platform p;
        CR_CLEANUP(cr_buffer_release) struct cr_buffer quote = {0};
        CR_CLEANUP(cr_endorsements_release) struct cr_endorsements *endorsements = NULL;
        platform_make(&p, (uint16_t)(3 + kind), kind > 0);
        platform_quote(&p, &quote);
        endorsements = platform_endorsements(&p);
        struct cr_appraisal_policy policy;
        trust(&p.root, "", &policy);
        const struct cr_grounds grounds = {.endorsements = endorsements, .policy = &policy, .time = NOW};
        // The certificates' own bits are crypto/chain.h's matter: up to their beginning every byte counts;
        // some are tried.
        struct cr_quote parsed;
        assert_ok(cr_quote_parse(cr_buffer_slice(&quote), &parsed));
        size_t end = (size_t)(parsed.certification_data.data - quote.data);
        for (size_t at = 0; at < end; at += at < 700 ? 3 : 7) {
            struct cr_appraisal a = {0};
            quote.data[at] ^= (unsigned char)(1 << at % 8);
            assert_ok(cr_appraise_quote(cr_buffer_slice(&quote), &grounds, &a));
            if (cr_appraisal_verdict(&a) != CR_CONTRADICTED) fail_msg("kind %d: byte %zu", kind, at);
            assert_false(a.signature_valid);
            cr_appraisal_release(&a);
            quote.data[at] ^= (unsigned char)(1 << at % 8);
        }
        // Cut anywhere it cannot be read, and is refused for that.
        for (size_t size = 0; size < quote.size; size += 37) {
            struct cr_appraisal a = {0};
            assert_ok(cr_appraise_quote((struct cr_slice){quote.data, size}, &grounds, &a));
            assert_int_equal(cr_appraisal_verdict(&a), CR_CONTRADICTED);
            assert_int_equal(finding_of(&a, "format")->outcome, CR_REFUSED);
            cr_appraisal_release(&a);
        }
        cr_appraisal_policy_release(&policy);
        platform_free(&p);
    }
}

// A quote by a key of the attacker's own, well signed, with everything else of a genuine one.
static void test_a_foreign_attestation_key_is_refused(void **state)
{
    (void)state;
    struct platform p;
    struct cr_appraisal a;
    CR_CLEANUP(cr_buffer_release) struct cr_buffer quote = {0};
    platform_make(&p, 3, false);
    platform_quote(&p, &quote);
    EVP_PKEY *foreign = new_key("P-256");
    sign_raw(foreign, quote.data, HEADER + REPORT_SIZE, 32, quote.data + QUOTE_SIGNATURE_AT_SGX3);
    key_point(foreign, 32, quote.data + QUOTE_SIGNATURE_AT_SGX3 + 64);
    EVP_PKEY_free(foreign);
    appraise_bytes(&p, cr_buffer_slice(&quote), known_enclave, NOW, &a);
    assert_only(&a, "attestation_key", CR_REFUSED, "does not vouch for the attestation key");
    assert_int_equal(finding_of(&a, "quote_signature")->outcome, CR_PASSED);
    assert_false(a.signature_valid);
    cr_appraisal_release(&a);
    platform_free(&p);
}

static void test_bytes_behind_the_quote_are_told(void **state)
{
    (void)state;
    struct platform p;
    struct cr_appraisal a;
    CR_CLEANUP(cr_buffer_release) struct cr_buffer quote = {0};
    platform_make(&p, 4, true);
    platform_quote(&p, &quote);
    assert_ok(cr_append(&quote, "padding", 7));
    appraise_bytes(&p, cr_buffer_slice(&quote), "", NOW, &a);
    assert_int_equal(cr_appraisal_verdict(&a), CR_UNAFFIRMED);
    bool told = false;
    for (size_t i = 0; i < a.claim_count; i++)
        told = told || (strcmp(a.claims[i].key, "trailing_bytes") == 0 && strcmp(a.claims[i].text, "7") == 0);
    assert_true(told);
    cr_appraisal_release(&a);
    platform_free(&p);
}

static void test_forms_that_are_not_read(void **state)
{
    (void)state;
    struct platform p;
    CR_CLEANUP(cr_buffer_release) struct cr_buffer whole = {0};
    platform_make(&p, 5, true);
    platform_quote(&p, &whole);
    static const struct {
        size_t at;
        unsigned char value;
        const char *why;
    } cases[] = {
        {0, 6, "of version 6"},
        {0, 2, "of version 2"},
        {0, 3, "of TEE type 0x81 in version 3"},
        {2, 3, "attestation key of type 3"},
        {4, 0x80, "of TEE type 0x80"},
        {12, 0, "not by a quoting enclave of Intel's"},
        {48, 1, "a body of type 1"},
        {48, 4, "a body of type 4"},
        {48, 2, "a body of type 2 with 648 bytes, not 584"},
        {50, 0x89, "a body of type 3 with 649 bytes, not 648"},
        {54 + TD_15_SIZE + 3, 0xff, "signature data of 42781"},
        {54 + TD_15_SIZE + 4 + 128, 5, "certification data of type 5 around the QE's report"},
        {54 + TD_15_SIZE + 4 + 130, 0, "certification data of"},
        {54 + TD_15_SIZE + 4 + 134 + 449, 0xff, "ends within the QE's authentication data"},
        {54 + TD_15_SIZE + 4 + 134 + 450 + 32, 7, "certification data of type 7"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct cr_quote quote;
        unsigned char before = whole.data[cases[i].at];
        whole.data[cases[i].at] = cases[i].value;
        enum cr_status status = cr_quote_parse(cr_buffer_slice(&whole), &quote);
        if (status != CR_INVALID && status != CR_UNSUPPORTED) fail_msg("case %zu was read", i);
        if (!strstr(cr_error_message(), cases[i].why))
            fail_msg("case %zu: \"%s\" lacks \"%s\"", i, cr_error_message(), cases[i].why);
        whole.data[cases[i].at] = before;
    }
    struct cr_quote quote;
    whole.data[54 + TD_15_SIZE + 4 + 134 + 450 + 34]--; // size of the certification data
    assert_fails(CR_INVALID, "1 bytes between its certification data and its end",
                 cr_quote_parse(cr_buffer_slice(&whole), &quote));
    platform_free(&p);
}

static void test_debug_is_refused(void **state)
{
    (void)state;
    for (int is_td = 0; is_td < 2; is_td++) {
        struct platform p;
        struct cr_appraisal a;
        platform_make(&p, 4, is_td);
        p.report[is_td ? 120 : 48] |= is_td ? 1 : 2;
        appraise(&p, "", &a);
        assert_true(a.signature_valid && a.debug);
        assert_int_equal(cr_appraisal_verdict(&a), CR_CONTRADICTED);
        assert_only(&a, "debug", CR_REFUSED, "in debug mode");
        cr_appraisal_release(&a);
        appraise(&p, "allow_debug: true\n", &a);
        assert_only(&a, "debug", CR_ADMITTED, "in debug mode");
        assert_int_equal(cr_appraisal_verdict(&a), CR_UNAFFIRMED);
        cr_appraisal_release(&a);
        platform_free(&p);
    }
    // The bits beside a TD's own for debugging are reserved for others that make it untrusted.
    for (unsigned bit = 1; bit < 8; bit++) {
        struct platform p;
        platform_make(&p, 4, true);
        p.report[120] |= (unsigned char)(1u << bit);
        appraises_to(&p, "", "debug", CR_REFUSED, "in debug mode");
        platform_free(&p);
    }
}

static void test_a_td_that_can_be_moved_is_refused(void **state)
{
    (void)state;
    struct platform p;
    struct cr_appraisal a;
    platform_make(&p, 5, true);
    p.report[123] |= 0x20;
    appraise(&p, "", &a);
    assert_true(a.signature_valid);
    assert_only(&a, "migration", CR_REFUSED, "may move to another machine");
    cr_appraisal_release(&a);
    appraise(&p, "tdx: {allow_migration: true}\n", &a);
    assert_only(&a, "migration", CR_ADMITTED, "may move to another machine");
    assert_int_equal(cr_appraisal_verdict(&a), CR_UNAFFIRMED);
    cr_appraisal_release(&a);
    platform_free(&p);
}

static void test_another_program_is_refused(void **state)
{
    (void)state;
    struct platform p;
    struct cr_appraisal a;
    platform_make(&p, 3, false);
#define OTHER "\"cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc\""
#define SIGNER "\"a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2\""
    static const struct {
        const char *lines, *check, *why;
    } cases[] = {
        {"sgx: {mrenclave: [" OTHER "]}", "sgx.mrenclave", "a1a1a1a1"},
        {"sgx: {mrsigner: " OTHER ", isv_prod_id: 17}", "sgx.mrsigner", "a2a2a2a2"},
        {"sgx: {mrsigner: " SIGNER ", isv_prod_id: [18, 19]}", "sgx.isv_prod_id", "17 is not among"},
        {"sgx: {mrsigner: " SIGNER ", isv_prod_id: 17, min_isv_svn: 4}", "sgx.min_isv_svn",
         "3 is below the policy's 4"},
        {"report_data: \"dd\"", "report_data", "dddddddd"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        appraise(&p, cases[i].lines, &a);
        assert_true(a.signature_valid);
        assert_int_equal(cr_appraisal_verdict(&a), CR_CONTRADICTED);
        assert_only(&a, cases[i].check, CR_REFUSED, cases[i].why);
        cr_appraisal_release(&a);
    }
    appraise(&p, "sgx: {mrsigner: " SIGNER ", isv_prod_id: [16, 17], min_isv_svn: 3}", &a);
    assert_int_equal(cr_appraisal_verdict(&a), CR_AFFIRMED);
    cr_appraisal_release(&a);
    memset(p.report + 320 + 4, 0, 60);
    appraise(&p, "report_data: [\"00\", \"dddddddd\"]", &a);
    assert_int_equal(finding_of(&a, "report_data")->outcome, CR_PASSED);
    cr_appraisal_release(&a);
    platform_free(&p);
}

static void test_another_image_is_refused(void **state)
{
    (void)state;
    static const struct {
        size_t at;
        const char *check;
    } cases[] = {
        {136, "tdx.mrtd"}, {328, "tdx.rtmr0"}, {328 + 48, "tdx.rtmr1"}, {328 + 96 + 47, "tdx.rtmr2"}};
    CR_CLEANUP(cr_buffer_release) struct cr_buffer known = {0};
    put_known_td(&known);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct platform p;
        platform_make(&p, 4, true);
        p.report[cases[i].at] ^= 1;
        appraises_to(&p, cr_buffer_text(&known), cases[i].check, CR_REFUSED,
                     "is not among the policy's values");
        platform_free(&p);
    }
}

// What the platform says against what Intel says of it.
static void test_states_of_the_platform(void **state)
{
    (void)state;
    static const struct {
        const char *platform, *module, *qe, *result;
        bool passes;
    } cases[] = {
        {"UpToDate", "UpToDate", "UpToDate", "UpToDate", true},
        {"SWHardeningNeeded", "UpToDate", "UpToDate", "SWHardeningNeeded", true},
        {"ConfigurationNeeded", "UpToDate", "UpToDate", "ConfigurationNeeded", false},
        {"OutOfDate", "UpToDate", "UpToDate", "OutOfDate", false},
        {"OutOfDateConfigurationNeeded", "UpToDate", "UpToDate", "OutOfDateConfigurationNeeded", false},
        {"Revoked", "UpToDate", "UpToDate", "Revoked", false},
        {"UpToDate", "OutOfDate", "UpToDate", "OutOfDate", false},
        {"UpToDate", "UpToDate", "OutOfDate", "OutOfDate", false},
        {"SWHardeningNeeded", "UpToDate", "OutOfDate", "OutOfDate", false},
        {"ConfigurationAndSWHardeningNeeded", "UpToDate", "OutOfDate", "OutOfDateConfigurationNeeded", false},
        {"ConfigurationNeeded", "OutOfDate", "UpToDate", "OutOfDateConfigurationNeeded", false},
        {"UpToDate", "Revoked", "UpToDate", "Revoked", false},
        {"OutOfDate", "UpToDate", "Revoked", "Revoked", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct platform p;
        struct cr_appraisal a;
        char allow[96];
        platform_make(&p, 4, true);
        p.platform_status = cases[i].platform;
        p.module_status = cases[i].module;
        p.qe_status = cases[i].qe;
        appraise(&p, "", &a);
        assert_string_equal(a.tcb_status, cases[i].result);
        if (cases[i].passes)
            assert_int_equal(cr_appraisal_verdict(&a), CR_UNAFFIRMED);
        else
            assert_only(&a, "tcb_status", CR_REFUSED, cases[i].result);
        cr_appraisal_release(&a);
        snprintf(allow, sizeof allow, "allow_tcb_status: [%s]\n", cases[i].result);
        appraise(&p, allow, &a);
        assert_int_equal(cr_appraisal_verdict(&a), CR_UNAFFIRMED);
        cr_appraisal_release(&a);
        platform_free(&p);
    }
}

static void test_levels_of_the_platform(void **state)
{
    (void)state;
    struct platform p;
    platform_make(&p, 4, true);
    p.level_svn = 6; // more than the certificate has, so the second level counts
    appraises_to(&p, "", "tcb_status", CR_REFUSED, "OutOfDate");
    p.level_svn = 5;
    p.report[0] = 3; // the module's SVN, below its only level
    appraises_to(&p, "", "tcb_status", CR_REFUSED, "Unrecognized");
    p.report[0] = 4;
    p.report[1] = 5; // a version of the module that Intel does not know
    appraises_to(&p, "", "tdx_module", CR_REFUSED, "of a version that the TCB info does not know");
    p.report[1] = 3;
    p.report[64] = 1; // mrsignerseam
    appraises_to(&p, "", "tdx_module", CR_REFUSED, "another mrsigner than Intel's");
    platform_free(&p);
}

// A TCB info that a signer signed, and that is not as Intel's are.
static void test_tcb_infos_that_are_not_read(void **state)
{
    (void)state;
    struct platform p;
    platform_make(&p, 4, true);
    p.platform_status = "Splendid";
    appraises_to(&p, "", "tcb_info", CR_REFUSED, "a tcbStatus \"Splendid\", which is not known");
    p.platform_status = "UpToDate";
    p.components = 15;
    appraises_to(&p, "", "tcb_info", CR_REFUSED, "sgxtcbcomponents of 15 components, not 16");
    p.components = 16;
    p.no_td_components = true;
    appraises_to(&p, "", "tcb_info", CR_REFUSED, "a level for TDX without tdxtcbcomponents");
    platform_free(&p);
}

static void test_another_quoting_enclave_is_refused(void **state)
{
    (void)state;
    static const struct {
        size_t at;
        const char *why;
    } cases[] = {{128, "another mrsigner"},
                 {48, "another attributes"},
                 {16, "another miscselect"},
                 {256, "another isvprodid"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct platform p;
        struct cr_appraisal a;
        platform_make(&p, 3, false);
        p.qe_report[cases[i].at] ^= 2;
        appraise(&p, "", &a);
        assert_true(a.signature_valid); // the key of a genuine platform signed it
        assert_only(&a, "qe_identity", CR_REFUSED, cases[i].why);
        cr_appraisal_release(&a);
        platform_free(&p);
    }
}

static void test_revoked_keys_are_refused(void **state)
{
    (void)state;
    for (int which = 0; which < 3; which++) {
        struct platform p;
        struct cr_appraisal a;
        platform_make(&p, 3, false);
        if (which == 0) p.revoked_by_ca = &p.pck;
        if (which == 1) p.revoked_by_root = &p.pck_ca;
        if (which == 2) p.revoked_by_root = &p.signer;
        appraise(&p, "", &a);
        assert_true(a.signature_valid);
        static const char *const names[] = {"PCK Certificate", "PCK Platform CA", "TCB Signing"};
        assert_only(&a, "revocation", CR_REFUSED, names[which]);
        cr_appraisal_release(&a);
        appraises_to(&p, "allow_revoked: true\n", "revocation", CR_ADMITTED, names[which]);
        p.crl_ends = NOW - DAY / 2; // a list that has ended still says so
        appraises_to(&p, "", "revocation", CR_REFUSED, "revoked");
        platform_free(&p);
    }
}

static void test_what_has_ended_is_refused(void **state)
{
    (void)state;
    for (int which = 0; which < 6; which++) {
        struct platform p;
        struct cr_appraisal a;
        platform_make(&p, 3, false);
        if (which == 0) p.info_ends = NOW - 1;
        if (which == 1) p.info_begins = NOW + 1;
        if (which == 2) p.identity_ends = NOW - 1;
        if (which == 3) p.crl_ends = NOW - 1;
        if (which >= 4) {
            ASN1_TIME_set(which == 4 ? X509_getm_notAfter(p.pck.certificate)
                                     : X509_getm_notBefore(p.pck.certificate),
                          which == 4 ? NOW - 1 : NOW + 1);
            sign_certificate(p.pck.certificate, &p.pck_ca);
        }
        static const struct {
            const char *check, *why;
        } expected[] = {{"tcb_info", "expired: a newer one was due at 2025-06-15T15:06:39Z"},
                        {"tcb_info", "issued only at 2025-06-15T15:06:41Z"},
                        {"qe_identity", "expired"},
                        {"revocation", "expired: the newest list of revocations"},
                        {"pck_validity", "\"Intel SGX PCK Certificate\" expired at 2025-06-15T15:06:39Z"},
                        {"pck_validity", "is good only from 2025-06-15T15:06:41Z"}};
        appraise(&p, "", &a);
        assert_true(a.signature_valid);
        assert_only(&a, expected[which].check, CR_REFUSED, expected[which].why);
        cr_appraisal_release(&a);
        appraise(&p, "allow_expired_collateral: true\n", &a);
        assert_only(&a, expected[which].check, CR_ADMITTED, expected[which].why);
        assert_int_equal(cr_appraisal_verdict(&a), CR_UNAFFIRMED);
        cr_appraisal_release(&a);
        platform_free(&p);
    }
}

static void test_what_is_missing_is_told(void **state)
{
    (void)state;
    struct platform p;
    struct cr_appraisal a;
    platform_make(&p, 3, false);
    p.no_crls = true;
    appraises_to(&p, "", "revocation", CR_UNCHECKED, "no list of revocations");
    appraises_to(&p, "allow_missing_crl: true\n", "revocation", CR_ADMITTED, "no list of revocations");
    platform_free(&p);

    // A platform that signs all it wants is not Intel's.
    struct platform other;
    CR_CLEANUP(cr_buffer_release) struct cr_buffer quote = {0}, quote_without = {0};
    platform_make(&p, 3, false);
    platform_make(&other, 3, false);
    platform_quote(&other, &quote);
    appraise_bytes(&p, cr_buffer_slice(&quote), "", NOW, &a);
    assert_only(&a, "pck_chain", CR_REFUSED, "no chain from the PCK certificate to a trusted root");
    assert_false(a.signature_valid);
    cr_appraisal_release(&a);

    // A statement by another key than that of a signer with a chain.
    EVP_PKEY *key = p.signer.key;
    p.signer.key = other.signer.key;
    appraise(&p, "", &a);
    assert_true(a.signature_valid);
    assert_null(a.tcb_status);
    assert_int_equal(finding_of(&a, "tcb_info")->outcome, CR_REFUSED);
    assert_non_null(strstr(finding_of(&a, "tcb_info")->reason, "the signature over it does not verify"));
    cr_appraisal_release(&a);
    p.signer.key = key;

    // A signer with a right name, whom no trusted root knows.
    struct party signer = p.signer;
    p.signer = other.signer;
    appraise(&p, "", &a);
    assert_true(a.signature_valid);
    assert_null(a.tcb_status);
    assert_non_null(strstr(finding_of(&a, "tcb_info")->reason,
                           "no \"Intel SGX TCB Signing\" certificate with a chain to a trusted root"));
    cr_appraisal_release(&a);
    p.signer = signer;

    // No certificate of the key that signed the QE's report, and none that the quote brings.
    struct party pck = p.pck;
    p.certification = 3;
    platform_quote(&p, &quote_without);
    p.pck = other.pck;
    appraise_bytes(&p, cr_buffer_slice(&quote_without), "", NOW, &a);
    assert_false(a.signature_valid);
    assert_null(a.tcb_status);
    assert_non_null(strstr(finding_of(&a, "qe_report_signature")->reason,
                           "none among the endorsements has the key that signed the QE's report"));
    assert_non_null(strstr(finding_of(&a, "pck_chain")->reason, "there is no PCK certificate"));
    cr_appraisal_release(&a);
    p.pck = pck;
    platform_free(&p);
    platform_free(&other);
}

static void test_quotes_without_certificates_find_theirs(void **state)
{
    (void)state;
    for (uint16_t type = 1; type <= 4; type++) {
        struct platform p;
        struct cr_appraisal a;
        platform_make(&p, 3, false);
        p.certification = type;
        appraise(&p, known_enclave, &a);
        if (cr_appraisal_verdict(&a) != CR_AFFIRMED) fail_msg("type %u: %s", type, cr_appraisal_reason(&a));
        cr_appraisal_release(&a);
        platform_free(&p);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_whole_quotes_are_affirmed),
        cmocka_unit_test(test_every_flipped_bit_is_found),
        cmocka_unit_test(test_a_foreign_attestation_key_is_refused),
        cmocka_unit_test(test_bytes_behind_the_quote_are_told),
        cmocka_unit_test(test_forms_that_are_not_read),
        cmocka_unit_test(test_debug_is_refused),
        cmocka_unit_test(test_a_td_that_can_be_moved_is_refused),
        cmocka_unit_test(test_another_program_is_refused),
        cmocka_unit_test(test_another_image_is_refused),
        cmocka_unit_test(test_states_of_the_platform),
        cmocka_unit_test(test_levels_of_the_platform),
        cmocka_unit_test(test_tcb_infos_that_are_not_read),
        cmocka_unit_test(test_another_quoting_enclave_is_refused),
        cmocka_unit_test(test_revoked_keys_are_refused),
        cmocka_unit_test(test_what_has_ended_is_refused),
        cmocka_unit_test(test_what_is_missing_is_told),
        cmocka_unit_test(test_quotes_without_certificates_find_theirs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
