// attestation/: SEV-SNP reports by chips of our own, whole and with one thing wrong at a time.
#include "appraisal_support.h"
#include "pki_support.h"

#include "attestation/appraise.h"
#include "attestation/report.h"

enum {
    NOW = 1750000000, // 2025-06-15T15:06:40Z
    MILAN = 0,
    TURIN = 1,
};

struct chip {
    struct party root, intermediate, key;
    unsigned char report[CR_SNP_REPORT_SIZE];
    const struct party *revoked;
    const struct party *before, *behind; // certificates of keys before and behind that of its own
    bool has_crl, no_certificate;
    int64_t crl_ends;
    const char *crl_scope;
};

static void add_version(X509 *certificate, const char *oid, unsigned char version)
{
    unsigned char der[] = {2, 2, 0, version};
    if (version < 0x80) {
        der[1] = 1;
        der[2] = version;
    }
    add_raw_extension(certificate, oid, (struct cr_slice){der, version < 0x80 ? 3 : 4});
}

// A VCEK of the generation, or a VLEK, and a report that it has not signed yet.
static void chip_make(struct chip *chip, int generation, bool is_vlek, uint32_t version)
{
    static const unsigned char product[] = "\x16\x08Test-X99", fleet[] = "\x16\x05"
                                                                         "Cloud";
    *chip = (struct chip){.crl_ends = NOW + DAY};
    int64_t begins = NOW - YEAR, ends = NOW + YEAR;
    chip->root = signed_party("RSA", "ARK-Test", NULL, true, begins, ends);
    chip->intermediate =
        signed_party("RSA", is_vlek ? "SEV-VLEK-Test" : "SEV-Test", &chip->root, true, begins, ends);
    chip->key =
        new_party("P-384", is_vlek ? "SEV-VLEK" : "SEV-VCEK", &chip->intermediate, false, begins, ends);
    X509 *certificate = chip->key.certificate;
    unsigned char chip_id[64] = {0};
    memset(chip_id, 0xc1, generation == TURIN ? 8 : sizeof chip_id);
    add_version(certificate, "1.3.6.1.4.1.3704.1.3.1", 4);
    add_version(certificate, "1.3.6.1.4.1.3704.1.3.2", 1);
    add_version(certificate, "1.3.6.1.4.1.3704.1.3.3", 24);
    add_version(certificate, "1.3.6.1.4.1.3704.1.3.8", 219);
    if (generation == TURIN) add_version(certificate, "1.3.6.1.4.1.3704.1.3.9", 7);
    if (is_vlek) {
        add_raw_extension(certificate, "1.3.6.1.4.1.3704.1.5", (struct cr_slice){fleet, sizeof fleet - 1});
    } else {
        add_raw_extension(certificate, "1.3.6.1.4.1.3704.1.2",
                          (struct cr_slice){product, sizeof product - 1});
        add_raw_extension(certificate, "1.3.6.1.4.1.3704.1.4",
                          (struct cr_slice){chip_id, generation == TURIN ? 8 : sizeof chip_id});
    }
    sign_certificate(certificate, &chip->intermediate);

    unsigned char *report = chip->report;
    static const unsigned char milan[8] = {4, 1, 0, 0, 0, 0, 24, 219}, turin[8] = {7, 4, 1, 24, 0, 0, 0, 219};
    report[0] = (unsigned char)version;
    report[4] = 5;     // guest SVN
    report[10] = 0x03; // policy: SMT, and the bit that is always set
    report[0x34] = 1;  // ECDSA P-384
    report[0x48] = is_vlek ? 1 << 2 : 0;
    memset(report + 0x50, 0xdd, 64);
    memset(report + 0x90, 0xa1, 48);
    memset(report + 0xc0, 0xa2, 32);
    memset(report + 0xe0, 0xa3, 48);
    memset(report + 0x110, 0xa4, 48);
    memcpy(report + 0x180, generation == TURIN ? turin : milan, 8);
    if (version >= 3) report[0x188] = generation == TURIN ? 0x1a : 0x19;
    memcpy(report + 0x1a0, chip_id, sizeof chip_id);
}

static void chip_free(struct chip *chip)
{
    party_free(&chip->root);
    party_free(&chip->intermediate);
    party_free(&chip->key);
}

static void sign_report(struct chip *chip)
{
    unsigned char signature[96];
    sign_raw(chip->key.key, chip->report, CR_SNP_SIGNED_SIZE, 48, signature);
    memset(chip->report + CR_SNP_SIGNED_SIZE, 0, 144);
    for (size_t i = 0; i < 48; i++) {
        chip->report[CR_SNP_SIGNED_SIZE + i] = signature[47 - i];
        chip->report[CR_SNP_SIGNED_SIZE + 72 + i] = signature[95 - i];
    }
}

static void appraise_bytes(const struct chip *chip, struct cr_slice bytes, const char *lines,
                           struct cr_appraisal *out)
{
    CR_CLEANUP(cr_endorsements_release) struct cr_endorsements *endorsements = NULL;
    CR_CLEANUP(cr_buffer_release) struct cr_buffer pem = {0}, crl = {0};
    assert_ok(cr_endorsements_new(&endorsements));
    put_pem(&pem, &chip->intermediate);
    put_pem(&pem, &chip->root);
    if (chip->before) put_pem(&pem, chip->before);
    if (!chip->no_certificate) put_pem(&pem, &chip->key);
    if (chip->behind) put_pem(&pem, chip->behind);
    assert_ok(cr_endorsements_add(endorsements, cr_buffer_slice(&pem)));
    if (chip->has_crl) {
        put_crl_of(&crl, &chip->root, chip->revoked, NOW - DAY, chip->crl_ends, chip->crl_scope);
        assert_ok(cr_endorsements_add(endorsements, cr_buffer_slice(&crl)));
    }
    struct cr_appraisal_policy policy;
    trust(&chip->root, lines, &policy);
    const struct cr_grounds grounds = {.endorsements = endorsements, .policy = &policy, .time = NOW};
    *out = (struct cr_appraisal){0};
    assert_ok(cr_appraise_report(bytes, &grounds, out));
    cr_appraisal_policy_release(&policy);
}

static void appraise(struct chip *chip, const char *lines, struct cr_appraisal *out)
{
    sign_report(chip);
    appraise_bytes(chip, (struct cr_slice){chip->report, sizeof chip->report}, lines, out);
}

#define MEASUREMENT                                                                                          \
    "measurement: "                                                                                          \
    "\"a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1\""
#define TCB "min_tcb: {bootloader: 4, tee: 1, snp: 24, microcode: 219}"
#define GOOD "snp: {" MEASUREMENT ", " TCB "}\n"
#define GOOD_WITH(more) "snp: {" MEASUREMENT ", " TCB ", " more "}\n"

static void test_whole_reports_are_affirmed(void **state)
{
    (void)state;
    static const struct {
        int generation;
        bool is_vlek;
        uint32_t version;
    } kinds[] = {{MILAN, false, 2}, {MILAN, false, 3}, {MILAN, true, 3},
                 {MILAN, false, 5}, {TURIN, false, 3}, {TURIN, true, 5}};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        struct chip chip;
        struct cr_appraisal a;
        chip_make(&chip, kinds[i].generation, kinds[i].is_vlek, kinds[i].version);
        chip.has_crl = true;
        appraise(&chip, GOOD, &a);
        if (cr_appraisal_verdict(&a) != CR_AFFIRMED) fail_msg("kind %zu: %s", i, cr_appraisal_reason(&a));
        assert_true(a.signature_valid && !a.debug);
        assert_string_equal(a.tcb_status, "UpToDate");
        cr_appraisal_release(&a);
        // What the policy does not say is told one by one.
        appraise(&chip, "", &a);
        assert_int_equal(cr_appraisal_verdict(&a), CR_UNAFFIRMED);
        assert_int_equal(finding_of(&a, "tcb_status")->outcome, CR_UNCHECKED);
        assert_string_equal(a.tcb_status, "Unknown");
        assert_int_equal(finding_of(&a, "program")->outcome, CR_UNCHECKED);
        cr_appraisal_release(&a);
        appraise(&chip, "allow_tcb_status: [Unknown]\nallow_unknown_program: true\n", &a);
        assert_int_equal(cr_appraisal_verdict(&a), CR_AFFIRMED);
        cr_appraisal_release(&a);
        chip_free(&chip);
    }
}

static void test_every_flipped_bit_is_found(void **state)
{
    (void)state;
    struct chip chip;
    struct cr_appraisal a;
    chip_make(&chip, MILAN, false, 3);
    chip.has_crl = true;
    sign_report(&chip);
    for (size_t at = 0; at < sizeof chip.report; at += THOROUGH ? 7 : 97) {
        chip.report[at] ^= (unsigned char)(1 << at % 8);
        appraise_bytes(&chip, (struct cr_slice){chip.report, sizeof chip.report}, "", &a);
        if (cr_appraisal_verdict(&a) != CR_CONTRADICTED || a.signature_valid) fail_msg("byte %zu", at);
        cr_appraisal_release(&a);
        chip.report[at] ^= (unsigned char)(1 << at % 8);
    }
    for (size_t size = 0; size < sizeof chip.report; size += 101) {
        appraise_bytes(&chip, (struct cr_slice){chip.report, size}, "", &a);
        assert_only(&a, "format", CR_REFUSED, "bytes where it has 1184");
        cr_appraisal_release(&a);
    }
    chip_free(&chip);
}

static void test_one_thing_wrong(void **state)
{
    (void)state;
    static const struct {
        size_t at;
        unsigned char value;
        const char *lines, *check, *why, *admits; // admits: the lines that let it pass, NULL where none do
    } cases[] = {
        {10, 0x0b, GOOD, "debug", "allows debugging", GOOD "allow_debug: true\n"},
        {10, 0x07, GOOD, "migration", "migration agent", GOOD_WITH("allow_migration: true")},
        {0x30, 1, GOOD, "snp.vmpl", "1 is not among", GOOD_WITH("vmpl: [0, 1]")},
        {0x33, 0xff, GOOD, "snp.vmpl", "4278190080 is not among", NULL}, // asked for by the host
        {0x90, 0, GOOD, "snp.measurement", "is not among", NULL},
        {4, 4, GOOD_WITH("min_guest_svn: 5"), "snp.min_guest_svn", "4 is below the policy's 5",
         GOOD_WITH("min_guest_svn: 4")},
        {4, 5, GOOD_WITH("host_data: \"a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a200\""),
         "snp.host_data", "is not among", NULL},
        {0xe0, 0xa2,
         GOOD_WITH("id_key_digest: "
                   "\"a3a3a3a3a3a3a3a3a3a3a3a3a3a3a3a3a3a3a3a3a3a3a3a3a3a3a3a3a3a3a3a3a3a3a3a3a3a3a3a3a3a3a3a"
                   "3a3a3a3a3\""),
         "snp.id_key_digest", "is not among", NULL},
        {0x110, 0xa3,
         GOOD_WITH("author_key_digest: "
                   "\"a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a"
                   "4a4a4a4a4\""),
         "snp.author_key_digest", "is not among", NULL},
        {4, 5, "snp: {" MEASUREMENT ", min_tcb: {snp: 25}}\n", "tcb_status", "OutOfDate", GOOD},
        {4, 5, "snp: {" MEASUREMENT ", min_tcb: {microcode: 220}}\n", "tcb_status", "OutOfDate",
         "snp: {" MEASUREMENT ", min_tcb: {microcode: 220}}\nallow_tcb_status: [OutOfDate]\n"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct chip chip;
        struct cr_appraisal a;
        chip_make(&chip, MILAN, false, 2);
        chip.has_crl = true;
        chip.report[cases[i].at] = cases[i].value;
        appraise(&chip, cases[i].lines, &a);
        assert_true(a.signature_valid);
        assert_int_equal(cr_appraisal_verdict(&a), CR_CONTRADICTED);
        assert_only(&a, cases[i].check, CR_REFUSED, cases[i].why);
        cr_appraisal_release(&a);
        if (cases[i].admits) {
            appraise(&chip, cases[i].admits, &a);
            if (cr_appraisal_verdict(&a) != CR_AFFIRMED) fail_msg("case %zu: %s", i, cr_appraisal_reason(&a));
            cr_appraisal_release(&a);
        }
        chip_free(&chip);
    }
}

static void test_keys_that_are_not_the_reports(void **state)
{
    (void)state;
    struct chip chip, other;
    struct cr_appraisal a;
    chip_make(&chip, MILAN, false, 2);
    chip.has_crl = true;
    chip_make(&other, MILAN, false, 2);

    // Signed by another chip's key; by none; no certificate at all.
    sign_report(&other);
    appraise_bytes(&chip, (struct cr_slice){other.report, sizeof other.report}, GOOD, &a);
    assert_only(&a, "report_signature", CR_REFUSED, "the signature does not verify");
    cr_appraisal_release(&a);
    chip.report[0x48] = 7 << 2;
    appraise(&chip, GOOD, &a);
    assert_false(a.signature_valid);
    assert_non_null(strstr(finding_of(&a, "report_signature")->reason, "that no key signed it"));
    cr_appraisal_release(&a);
    chip.report[0x48] = 2 << 2;
    appraise(&chip, GOOD, &a);
    assert_false(a.signature_valid);
    assert_non_null(strstr(finding_of(&a, "report_signature")->reason, "signed by a key of kind 2"));
    cr_appraisal_release(&a);
    chip.report[0x48] = 1 << 2; // it claims a fleet's key
    appraise(&chip, GOOD, &a);
    assert_non_null(strstr(finding_of(&a, "report_signature")->reason, "no VLEK certificate"));
    cr_appraisal_release(&a);
    chip.report[0x48] = 0;
    chip.no_certificate = true;
    appraise(&chip, GOOD, &a);
    assert_false(a.signature_valid);
    assert_non_null(strstr(finding_of(&a, "report_signature")->reason, "chip (c1c1c1c1c1c1c1c1...)"));
    cr_appraisal_release(&a);
    chip.no_certificate = false;

    // Another chip than the certificate's, and another TCB.
    chip.report[0x1a0] = 0xc2;
    appraise(&chip, GOOD, &a);
    assert_false(a.signature_valid);
    cr_appraisal_release(&a);
    chip.report[0x1a0] = 0xc1;
    chip.report[0x186] = 25;
    appraise(&chip, GOOD, &a);
    assert_false(a.signature_valid);
    cr_appraisal_release(&a);
    chip.report[0x186] = 24;

    // No chip named: only where the report says that it was masked.
    memset(chip.report + 0x1a0, 0, 64);
    appraise(&chip, GOOD, &a);
    assert_only(&a, "chip_and_tcb", CR_REFUSED, "names no chip");
    cr_appraisal_release(&a);
    chip.report[0x48] = 2;
    appraise(&chip, GOOD, &a);
    assert_int_equal(cr_appraisal_verdict(&a), CR_AFFIRMED);
    cr_appraisal_release(&a);

    // A chain that ends elsewhere.
    struct party root = chip.root;
    chip.root = other.root;
    appraise(&chip, GOOD, &a);
    assert_only(&a, "key_chain", CR_REFUSED, "no chain");
    assert_false(a.signature_valid);
    cr_appraisal_release(&a);
    chip.root = root;
    chip_free(&chip);
    chip_free(&other);
}

// Another certificate for the same chip and TCB, before or behind the one whose key signed.
static void test_the_right_key_is_found_among_others(void **state)
{
    (void)state;
    struct chip chip, other;
    struct cr_appraisal a;
    chip_make(&chip, MILAN, false, 2);
    chip_make(&other, MILAN, false, 2);
    chip.has_crl = true;
    for (int i = 0; i < 2; i++) {
        chip.before = i == 0 ? &other.key : NULL;
        chip.behind = i == 1 ? &other.key : NULL;
        appraise(&chip, GOOD, &a);
        if (cr_appraisal_verdict(&a) != CR_AFFIRMED) fail_msg("%d: %s", i, cr_appraisal_reason(&a));
        cr_appraisal_release(&a);
    }
    chip_free(&chip);
    chip_free(&other);
}

// Keys' certificates by themselves, whose extensions of AMD's are not whole.
static void test_malformed_certificates(void **state)
{
    (void)state;
    static const unsigned char id[63] = {0};
    static const struct {
        unsigned versions;
        size_t id_size;
        const char *check, *why;
    } cases[] = {
        {3, 8, "extension", "the versions of its TCB lack or are malformed"},
        {4, 63, "extension", "a chip id of 63 bytes"},
        {4, 0, "extension", "neither a chip's id nor a fleet's"},
        {0, 8, "extension", "neither a PCK certificate of Intel's nor a VCEK or VLEK of AMD's"},
    };
    struct chip chip;
    chip_make(&chip, MILAN, false, 2);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        static const char *const oids[] = {"1.3.6.1.4.1.3704.1.3.1", "1.3.6.1.4.1.3704.1.3.2",
                                           "1.3.6.1.4.1.3704.1.3.3", "1.3.6.1.4.1.3704.1.3.8"};
        CR_CLEANUP(cr_endorsements_release) struct cr_endorsements *endorsements = NULL;
        CR_CLEANUP(cr_buffer_release) struct cr_buffer pem = {0};
        CR_CLEANUP(cr_appraisal_release) struct cr_appraisal a = {0};
        struct party key = new_party("P-384", "SEV-VCEK", &chip.intermediate, false, NOW - DAY, NOW + DAY);
        for (size_t k = 0; k < cases[i].versions; k++) add_version(key.certificate, oids[k], 1);
        if (cases[i].id_size)
            add_raw_extension(key.certificate, "1.3.6.1.4.1.3704.1.4",
                              (struct cr_slice){id, cases[i].id_size});
        sign_certificate(key.certificate, &chip.intermediate);
        put_pem(&pem, &chip.intermediate);
        put_pem(&pem, &chip.root);
        assert_ok(cr_endorsements_new(&endorsements));
        assert_ok(cr_endorsements_add(endorsements, cr_buffer_slice(&pem)));
        cr_buffer_clear(&pem);
        put_pem(&pem, &key);
        struct cr_appraisal_policy policy;
        trust(&chip.root, "allow_missing_crl: true\n", &policy);
        const struct cr_grounds grounds = {.endorsements = endorsements, .policy = &policy, .time = NOW};
        assert_ok(cr_appraise_certificate(cr_buffer_slice(&pem), &grounds, &a));
        assert_only(&a, cases[i].check, CR_REFUSED, cases[i].why);
        cr_appraisal_policy_release(&policy);
        party_free(&key);
    }
    chip_free(&chip);
}

static void test_revocation(void **state)
{
    (void)state;
    struct chip chip;
    struct cr_appraisal a;
    chip_make(&chip, MILAN, false, 2);
    appraise(&chip, GOOD, &a);
    assert_only(&a, "revocation", CR_UNCHECKED, "no list of revocations that could have \"SEV-Test\"");
    assert_int_equal(cr_appraisal_verdict(&a), CR_UNAFFIRMED);
    cr_appraisal_release(&a);
    chip.has_crl = true;
    chip.revoked = &chip.intermediate;
    appraise(&chip, GOOD, &a);
    assert_only(&a, "revocation", CR_REFUSED, "revoked: \"SEV-Test\"");
    cr_appraisal_release(&a);
    appraise(&chip, GOOD "allow_revoked: true\n", &a);
    assert_int_equal(cr_appraisal_verdict(&a), CR_AFFIRMED);
    cr_appraisal_release(&a);
    // A list of some certificates alone revokes, and tells nothing good of one that is not on it.
    chip.crl_scope = "critical,onlyuser:TRUE";
    appraise(&chip, GOOD, &a);
    assert_only(&a, "revocation", CR_REFUSED, "revoked: \"SEV-Test\"");
    cr_appraisal_release(&a);
    chip.revoked = NULL;
    appraise(&chip, GOOD, &a);
    assert_only(&a, "revocation", CR_UNCHECKED, "no list of revocations that could have \"SEV-Test\"");
    cr_appraisal_release(&a);
    chip.crl_scope = NULL;
    chip.crl_ends = NOW - 1;
    appraise(&chip, GOOD, &a);
    assert_only(&a, "revocation", CR_REFUSED, "expired");
    cr_appraisal_release(&a);
    chip_free(&chip);
}

static void test_forms_that_are_not_read(void **state)
{
    (void)state;
    struct chip chip;
    chip_make(&chip, MILAN, false, 2);
    sign_report(&chip);
    static const struct {
        size_t at;
        unsigned char value;
        const char *why;
    } cases[] = {
        {0, 1, "of version 1 (2 to 5 are known)"},
        {0, 6, "of version 6"},
        {3, 1, "of version"},
        {0x34, 0, "signed by algorithm 0"},
        {0x2a0 + 48, 1, "a number of its signature is longer"},
        {0x2a0 + 143, 1, "a number of its signature is longer"},
        {0x330, 1, "bytes behind its signature"},
        {0x49f, 1, "bytes behind its signature"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct cr_snp_report report;
        unsigned char before = chip.report[cases[i].at];
        chip.report[cases[i].at] = cases[i].value;
        enum cr_status status =
            cr_snp_report_parse((struct cr_slice){chip.report, sizeof chip.report}, &report);
        if (status != CR_INVALID && status != CR_UNSUPPORTED) fail_msg("case %zu was read", i);
        if (!strstr(cr_error_message(), cases[i].why))
            fail_msg("case %zu: \"%s\" lacks \"%s\"", i, cr_error_message(), cases[i].why);
        chip.report[cases[i].at] = before;
    }
    chip_free(&chip);
}

// The report within what Azure's paravisor keeps: bound to runtime data by their hash.
static void test_runtime_data(void **state)
{
    (void)state;
    static const char data[] = "{\"keys\": []}";
    struct chip chip;
    struct cr_appraisal a;
    CR_CLEANUP(cr_buffer_release) struct cr_buffer hcl = {0};
    unsigned char zeros[28] = {0};
    chip_make(&chip, MILAN, false, 3);
    chip.has_crl = true;
    memset(chip.report + 0x50, 0, 64);
    assert_ok(cr_sha256(cr_slice_of_string(data), chip.report + 0x50));
    sign_report(&chip);
    assert_ok(cr_append(&hcl, "HCLA", 4));
    assert_ok(cr_append(&hcl, zeros, sizeof zeros));
    assert_ok(cr_append(&hcl, chip.report, sizeof chip.report));
    const uint32_t numbers[] = {20 + sizeof data - 1, 1, 2, 1, sizeof data - 1};
    for (size_t i = 0; i < 5; i++) assert_ok(cr_append_u32(&hcl, numbers[i]));
    assert_ok(cr_append(&hcl, data, sizeof data - 1));
    appraise_bytes(&chip, cr_buffer_slice(&hcl), GOOD, &a);
    assert_int_equal(cr_appraisal_verdict(&a), CR_AFFIRMED);
    assert_int_equal(finding_of(&a, "runtime_data")->outcome, CR_PASSED);
    cr_appraisal_release(&a);
    hcl.data[hcl.size - 2] = '1';
    appraise_bytes(&chip, cr_buffer_slice(&hcl), GOOD, &a);
    assert_only(&a, "runtime_data", CR_REFUSED, "not bound to the runtime data");
    cr_appraisal_release(&a);
    appraise_bytes(&chip, (struct cr_slice){hcl.data, hcl.size - 1}, GOOD, &a);
    assert_only(&a, "format", CR_REFUSED, "it ends within its data");
    cr_appraisal_release(&a);
    chip_free(&chip);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_whole_reports_are_affirmed),
        cmocka_unit_test(test_every_flipped_bit_is_found),
        cmocka_unit_test(test_one_thing_wrong),
        cmocka_unit_test(test_keys_that_are_not_the_reports),
        cmocka_unit_test(test_the_right_key_is_found_among_others),
        cmocka_unit_test(test_malformed_certificates),
        cmocka_unit_test(test_revocation),
        cmocka_unit_test(test_forms_that_are_not_read),
        cmocka_unit_test(test_runtime_data),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
