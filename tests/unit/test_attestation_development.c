// attestation/development.h: evidence that proves nothing is recognised, and never taken for more.
#include "appraisal_support.h"

#include "attestation/appraise.h"
#include "attestation/development.h"
#include "attestation/ear.h"

static const unsigned char report_data[CR_DEVELOPMENT_PART] = {1, 2, 3};

static void make(struct cr_evidence *out)
{
    CR_CLEANUP(cr_buffer_release) struct cr_buffer bytes = {0};
    assert_ok(cr_development_make(report_data, &bytes));
    assert_ok(cr_evidence_find(cr_buffer_slice(&bytes), NULL, out));
    assert_int_equal(out->type, CR_EVIDENCE_DEVELOPMENT);
    assert_true(cr_slice_equal(cr_buffer_slice(&out->bytes), cr_buffer_slice(&bytes)));
}

static void appraise(const struct cr_evidence *evidence, const char *yaml, struct cr_appraisal *out)
{
    CR_CLEANUP(cr_endorsements_release) struct cr_endorsements *endorsements = NULL;
    struct cr_appraisal_policy policy;
    assert_ok(cr_endorsements_new(&endorsements));
    assert_ok(cr_appraisal_policy_parse(cr_slice_of_string(yaml), "policy", &policy));
    const struct cr_grounds grounds = {.endorsements = endorsements, .policy = &policy, .time = 1750000000};
    *out = (struct cr_appraisal){0};
    assert_ok(cr_appraise(evidence, &grounds, out));
    cr_appraisal_policy_release(&policy);
}

static void test_only_a_policy_lets_it_in(void **state)
{
    (void)state;
    CR_CLEANUP(cr_evidence_release) struct cr_evidence evidence = {0};
    CR_CLEANUP(cr_buffer_release) struct cr_buffer ear = {0};
    struct cr_appraisal a;
    unsigned char said[CR_REPORT_DATA_SIZE];
    make(&evidence);
    assert_ok(cr_evidence_report_data(&evidence, said));
    assert_memory_equal(said, report_data, sizeof said);
    // Whatever else a policy overlooks.
    static const char *const refusing[] = {"{}", "allow_debug: true\nallow_unknown_program: true\n"
                                                 "allow_tcb_status: [Unknown]\nallow_missing_crl: true\n"
                                                 "tpm: {allow_measured_boot: true}\n"};
    for (size_t i = 0; i < 2; i++) {
        appraise(&evidence, refusing[i], &a);
        assert_only(&a, "development", CR_REFUSED, "it proves nothing (a policy's allow_development would");
        assert_int_equal(finding_of(&a, "own_signature")->outcome, CR_PASSED);
        assert_int_equal(cr_appraisal_verdict(&a), CR_CONTRADICTED);
        assert_true(!a.signature_valid && a.debug && !a.tcb_status);
        cr_appraisal_release(&a);
    }
    appraise(&evidence, "allow_development: true\nreport_data: [\"010203\"]\n", &a);
    assert_only(&a, "development", CR_ADMITTED, "let pass by the policy's allow_development");
    assert_int_equal(finding_of(&a, "report_data")->outcome, CR_PASSED);
    assert_int_equal(cr_appraisal_verdict(&a), CR_LET_IN);
    assert_string_equal(cr_verdict_name(CR_LET_IN), "admitted");
    assert_false(a.signature_valid);
    assert_ok(cr_ear_write(&a, "development", NULL, 0, &ear));
    assert_non_null(strstr(cr_buffer_text(&ear), "\"ear.status\": \"none\", \"ear.trustworthiness-vector\": "
                                                 "{\"instance-identity\": 0, \"hardware\": 0, "
                                                 "\"executables\": 0, \"runtime-opaque\": 0}"));
    cr_appraisal_release(&a);
    appraise(&evidence, "allow_development: true\nreport_data: [\"0102\"]\n", &a);
    assert_int_equal(finding_of(&a, "report_data")->outcome, CR_REFUSED);
    assert_int_equal(cr_appraisal_verdict(&a), CR_CONTRADICTED);
    cr_appraisal_release(&a);
}

static void test_every_change_is_refused(void **state)
{
    (void)state;
    CR_CLEANUP(cr_evidence_release) struct cr_evidence evidence = {0};
    struct cr_appraisal a;
    make(&evidence);
    size_t whole = evidence.bytes.size;
    for (size_t at = 0; at < whole; at++) {
        evidence.bytes.data[at] ^= (unsigned char)(1 << at % 8);
        appraise(&evidence, "allow_development: true\n", &a);
        if (cr_appraisal_verdict(&a) != CR_CONTRADICTED) fail_msg("byte %zu", at);
        cr_appraisal_release(&a);
        evidence.bytes.data[at] ^= (unsigned char)(1 << at % 8);
    }
    for (size_t size = 0; size < whole; size++) {
        evidence.bytes.size = size;
        appraise(&evidence, "allow_development: true\n", &a);
        assert_only(&a, "format", CR_REFUSED, "development evidence: ");
        assert_int_equal(cr_appraisal_verdict(&a), CR_CONTRADICTED);
        cr_appraisal_release(&a);
    }
    evidence.bytes.size = whole;
    assert_ok(cr_append_u8(&evidence.bytes, 0));
    appraise(&evidence, "allow_development: true\n", &a);
    assert_only(&a, "format", CR_REFUSED, "three strings of 64 bytes and nothing else");
    cr_appraisal_release(&a);
}

static void test_each_has_a_key_of_its_own(void **state)
{
    (void)state;
    CR_CLEANUP(cr_evidence_release) struct cr_evidence first = {0}, second = {0};
    struct cr_development one, other;
    make(&first);
    make(&second);
    assert_ok(cr_development_parse(cr_buffer_slice(&first.bytes), &one));
    assert_ok(cr_development_parse(cr_buffer_slice(&second.bytes), &other));
    assert_false(cr_slice_equal(one.key, other.key));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_only_a_policy_lets_it_in),
        cmocka_unit_test(test_every_change_is_refused),
        cmocka_unit_test(test_each_has_a_key_of_its_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
