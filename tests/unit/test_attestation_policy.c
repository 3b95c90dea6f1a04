// attestation/: policies, evidence in its wrappings, endorsements in theirs, and what a PCK certificate says.
#include "intel_support.h"
#include "options_document.h"
#include "temporary.h"

#include "attestation/appraisal_policy.h"
#include "attestation/encoding.h"
#include "attestation/evidence.h"
#include "attestation/pck.h"
#include "base/file.h"
#include "crypto/hash.h"

static void test_policies_that_are_wrong(void **state)
{
    (void)state;
    static const struct {
        const char *yaml, *why;
    } cases[] = {
        {"sgx: {mrenclave: [ab]}", "sgx.mrenclave: \"ab\" is not 32 bytes in hexadecimal"},
        {"tdx: {rtmr3: zz}", "tdx.rtmr3"},
        {"allow_tcb_status: [UpToDat]", "did you mean UpToDate?"},
        {"allow_tcb_status: [none]", "is no state of a TCB"},
        {"report_data: [abc]", "report_data: \"abc\" is not 1 to 64 bytes"},
        {"report_data: \"\"", "report_data"},
        {"sgx: {mrsigner: \""
         "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff\"}",
         "sgx.mrsigner: needs sgx.isv_prod_id"},
        {"sgx: {isv_prod_id: 65536}", "65535"},
        {"allow_debug: maybe", "allow_debug"},
        {"alow_debug: true", "did you mean \"allow_debug\"?"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct cr_appraisal_policy policy;
        assert_fails(CR_INVALID, cases[i].why,
                     cr_appraisal_policy_parse(cr_slice_of_string(cases[i].yaml), "policy.yaml", &policy));
    }
}

static void test_the_default_policy_overlooks_nothing(void **state)
{
    (void)state;
    struct cr_appraisal_policy policy;
    assert_ok(cr_appraisal_policy_default(&policy));
    assert_false(policy.allow_debug || policy.allow_unknown_program || policy.allow_missing_crl ||
                 policy.allow_expired_collateral || policy.allow_revoked);
    assert_true(cr_appraisal_policy_allows_status(&policy, "UpToDate"));
    assert_false(cr_appraisal_policy_allows_status(&policy, "OutOfDate"));
    assert_int_equal(policy.trusted_roots.count, 0);
    cr_appraisal_policy_release(&policy);
}

static void test_encodings(void **state)
{
    (void)state;
    static const char *const same[] = {"00ffEE", " 00 ff\nee\n", "AP/u", "AP_u", "AP/u\r\n"};
    for (size_t i = 0; i < sizeof same / sizeof *same; i++) {
        CR_CLEANUP(cr_buffer_release) struct cr_buffer bytes = {0};
        assert_ok(cr_encoding_decode(cr_slice_of_string(same[i]), &bytes));
        assert_int_equal(bytes.size, 3);
        assert_memory_equal(bytes.data, "\x00\xff\xee", 3);
    }
    CR_CLEANUP(cr_buffer_release) struct cr_buffer none = {0};
    static const char *const wrong[] = {"", "  ", "a", "x y z!", "AP/u=AP/u"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_int_equal(cr_encoding_decode(cr_slice_of_string(wrong[i]), &none), CR_INVALID);
}

static void put_numbers(struct cr_buffer *out, const struct cr_buffer *bytes)
{
    assert_ok(cr_append_format(out, "["));
    for (size_t i = 0; i < bytes->size; i++)
        assert_ok(cr_append_format(out, "%s%u", i ? ", " : "", bytes->data[i]));
    assert_ok(cr_append_format(out, "]"));
}

static void assert_found(const struct cr_buffer *file, const enum cr_evidence_type *wanted,
                         enum cr_evidence_type type, const struct cr_buffer *bytes)
{
    struct cr_evidence evidence;
    assert_ok(cr_evidence_find(cr_buffer_slice(file), wanted, &evidence));
    assert_int_equal(evidence.type, type);
    assert_true(cr_slice_equal(cr_buffer_slice(&evidence.bytes), cr_buffer_slice(bytes)));
    cr_evidence_release(&evidence);
}

static void test_evidence_in_its_wrappings(void **state)
{
    (void)state;
    struct platform sgx, td;
    CR_CLEANUP(cr_buffer_release)
    struct cr_buffer quote = {0}, other = {0}, hex = {0}, json = {0}, cmw = {0}, both = {0};
    platform_make(&sgx, 3, false);
    platform_make(&td, 4, true);
    platform_quote(&sgx, &quote);
    platform_quote(&td, &other);
    assert_found(&quote, NULL, CR_EVIDENCE_SGX, &quote);
    assert_found(&other, NULL, CR_EVIDENCE_TDX, &other);
    put_hex(&hex, quote.data, quote.size);
    assert_ok(cr_append(&hex, "\n", 1));
    assert_found(&hex, NULL, CR_EVIDENCE_SGX, &quote);
    assert_ok(cr_append_format(&json, "{\"a\": {\"list\": [1, \"x\", {\"quote\": "));
    put_numbers(&json, &other);
    assert_ok(cr_append_format(&json, "}]}, \"b\": [300, 2], \"c\": null}"));
    assert_found(&json, NULL, CR_EVIDENCE_TDX, &other);
    assert_ok(cr_append_format(&cmw, "[\"application/vnd.intel.tdx-quote\", \""));
    assert_ok(cr_base64url_append(&cmw, cr_buffer_slice(&other)));
    assert_ok(cr_append_format(&cmw, "\"]"));
    assert_found(&cmw, NULL, CR_EVIDENCE_TDX, &other);

    // Two of different types: one is asked for. The same twice is one.
    assert_ok(cr_append_format(&both, "[%s, \"", cr_buffer_text(&json)));
    put_hex(&both, quote.data, quote.size);
    assert_ok(cr_append_format(&both, "\", \""));
    put_hex(&both, quote.data, quote.size);
    assert_ok(cr_append_format(&both, "\"]"));
    enum cr_evidence_type wanted = CR_EVIDENCE_SGX;
    assert_found(&both, &wanted, CR_EVIDENCE_SGX, &quote);
    struct cr_evidence evidence;
    assert_fails(CR_INVALID, "--type chooses", cr_evidence_find(cr_buffer_slice(&both), NULL, &evidence));
    assert_fails(CR_INVALID, "no evidence of type sgx",
                 cr_evidence_find(cr_buffer_slice(&json), &wanted, &evidence));
    assert_fails(CR_INVALID, "no evidence that is known",
                 cr_evidence_find(cr_slice_of_string("{\"quote\": 1}"), NULL, &evidence));
    assert_fails(CR_INVALID,
                 "evidence:1:", cr_evidence_find(cr_slice_of_string("{\"quote\": "), NULL, &evidence));
    assert_fails(CR_INVALID, "no evidence that is known",
                 cr_evidence_find(cr_slice_of_string(""), NULL, &evidence));
    platform_free(&sgx);
    platform_free(&td);
}

static void assert_holds(const char *path, size_t certificates, size_t statements)
{
    CR_CLEANUP(cr_endorsements_release) struct cr_endorsements *all = NULL;
    assert_ok(cr_endorsements_new(&all));
    assert_ok(cr_endorsements_read(all, path));
    assert_int_equal(cr_x509_pool_count(all->pool), certificates);
    assert_int_equal(all->count, statements);
}

static void test_endorsements_in_any_layout(void **state)
{
    (void)state;
    struct platform p;
    CR_CLEANUP(cr_buffer_release) struct cr_buffer pem = {0}, info = {0}, hex = {0}, all = {0};
    platform_make(&p, 3, false);
    put_pem(&pem, &p.root);
    put_pem(&pem, &p.signer);
    put_tcb_info(&info, &p);
    put_crl(&hex, &p.root, NULL, NOW, NOW + 1);
    CR_FREE char *inner = NULL;
    assert_ok(cr_path_join(directory, "inner", &inner));
    assert_ok(cr_directory_make(inner, false));
    assert_holds(directory, 0, 0);
    write_bytes(in_directory("inner/chain"), cr_buffer_slice(&pem));
    write_bytes(in_directory("inner/again.pem"), cr_buffer_slice(&pem));
    assert_holds(directory, 2, 0);
    write_bytes(in_directory("info.json"), cr_buffer_slice(&info));
    write_bytes(in_directory("broken.json"), (struct cr_slice){info.data, info.size - 9});
    write_bytes(in_directory("broken.pem"), (struct cr_slice){pem.data, 99});
    write_bytes(in_directory(".hidden.json"), cr_buffer_slice(&info));
    assert_holds(directory, 2, 1);
    // As DCAP keeps it: the signed object is a string, and its signature a member beside.
    assert_ok(cr_append_format(
        &all,
        "{\"tcb_info\": \"{\\\"id\\\":\\\"SGX\\\",\\\"issueDate\\\":\\\"2025-01-01T00:00:00Z\\\","
        "\\\"nextUpdate\\\":\\\"2025-02-01T00:00:00Z\\\"}\", \"tcb_info_signature\": \"%0128d\", "
        "\"root_ca_crl\": \"",
        7));
    put_hex(&all, hex.data, hex.size);
    assert_ok(cr_append_format(&all, "\"}"));
    write_bytes(in_directory("all.json"), cr_buffer_slice(&all));
    assert_holds(directory, 2, 2);
    // Without a signature as long as Intel's, and without dates.
#define BODY "{\"tcbInfo\": {\"id\": \"SGX\""
#define DATES ", \"issueDate\": \"2025-01-01T00:00:00Z\", \"nextUpdate\": \"2025-02-01T00:00:00Z\""
    cr_buffer_clear(&all);
    assert_ok(cr_append_format(&all, BODY DATES "}, \"signature\": \"%0126d\"}", 7));
    write_bytes(in_directory("short.json"), cr_buffer_slice(&all));
    cr_buffer_clear(&all);
    assert_ok(cr_append_format(&all, BODY "}, \"signature\": \"%0128d\"}", 7));
    write_bytes(in_directory("undated.json"), cr_buffer_slice(&all));
    assert_holds(directory, 2, 2);
    // Who shows evidence chooses what stands beside it, before anything is proved.
    cr_buffer_clear(&all);
    for (size_t i = 0; i < 25000; i++) assert_ok(cr_append_format(&all, "%s\"%zu\": {}", i ? ", " : "{", i));
    assert_ok(cr_append_format(&all, "}"));
    write_bytes(in_directory("many.json"), cr_buffer_slice(&all));
    assert_holds(directory, 2, 2);
    CR_CLEANUP(cr_endorsements_release) struct cr_endorsements *none = NULL;
    assert_ok(cr_endorsements_new(&none));
    assert_fails(CR_NOT_FOUND, "nowhere", cr_endorsements_read(none, in_directory("nowhere")));
    cr_buffer_clear(&all);
    for (size_t i = 0; i < 4097; i++)
        assert_ok(cr_append_format(&all, "%s\"%zu\": " BODY DATES "}, \"signature\": \"%0128d\"}",
                                   i ? ", " : "{", i, 7));
    assert_ok(cr_append_format(&all, "}"));
    assert_fails(CR_INVALID, "more than 4096 TCB infos", cr_endorsements_add(none, cr_buffer_slice(&all)));
    assert_int_equal(none->count, 4096);
    platform_free(&p);
}

static void test_what_a_pck_certificate_says(void **state)
{
    (void)state;
    CR_CLEANUP(cr_buffer_release) struct cr_buffer extension = {0};
    struct cr_pck pck;
    put_sgx_extension(&extension, 5);
    assert_ok(cr_pck_parse(cr_buffer_slice(&extension), &pck));
    assert_memory_equal(pck.fmspc, fmspc, sizeof fmspc);
    assert_int_equal(pck.pce_svn, 5);
    for (size_t i = 0; i < CR_PCK_COMPONENTS; i++) assert_int_equal(pck.components[i], 5);
    for (size_t size = 0; size < extension.size; size++)
        assert_int_equal(cr_pck_parse((struct cr_slice){extension.data, size}, &pck), CR_INVALID);
    // Every change of a tag, a length or an OID leaves something missing or malformed; a change of a value
    // does not.
    size_t read = 0;
    for (size_t at = 0; at < extension.size; at++) {
        extension.data[at] ^= 0x80;
        if (cr_pck_parse(cr_buffer_slice(&extension), &pck) == CR_OK) read++;
        extension.data[at] ^= 0x80;
    }
    assert_true(read < extension.size / 5);
}

static void test_documentation_is_of_this_table(void **state)
{
    (void)state;
    assert_page_is_of(
        &cr_appraisal_policy_table,
        "# Appraisal policies\n\nAn appraisal policy is a YAML file for `carrel verify --policy` and for a "
        "job (`federation.appraisal_policy`). It holds reference values, and lines that relax single checks. "
        "A list of reference values that is given must contain what the evidence says; a list that is not "
        "given requires nothing. Measurements, digests and other byte strings are written in hexadecimal. "
        "[ATTESTATION.md](ATTESTATION.md) describes the checks that are made besides.\n\nThis page is "
        "generated from the table in `src/attestation/appraisal_policy.c` (`CARREL_WRITE_DOCS=1 "
        "build/release/tests/test_attestation_policy`).\n\n",
        "docs/POLICY.md");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_policies_that_are_wrong),
        cmocka_unit_test(test_the_default_policy_overlooks_nothing),
        cmocka_unit_test(test_encodings),
        cmocka_unit_test(test_evidence_in_its_wrappings),
        cmocka_unit_test(test_endorsements_in_any_layout),
        cmocka_unit_test(test_what_a_pck_certificate_says),
        cmocka_unit_test(test_documentation_is_of_this_table),
    };
    return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
