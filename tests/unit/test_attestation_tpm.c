// attestation/: quotes of TPMs, by keys that a certificate or a confidential VM's report vouches for.
#include "appraisal_support.h"
#include "pki_support.h"

#include "attestation/appraise.h"
#include "attestation/evidence.h"
#include "attestation/tpm.h"
#include "base/file.h"
#include "crypto/hash.h"

enum { NOW = 1750000000, SELECTED = 0x00009f };

struct tpm {
    struct party root, key;
    unsigned char pcrs[CR_TPM_PCRS][32];
    bool raw_signature, no_certificate;
    uint32_t selected;
};

static void tpm_make(struct tpm *tpm, const char *curve)
{
    *tpm = (struct tpm){.selected = SELECTED};
    tpm->root = signed_party("P-256", "TPM maker", NULL, true, NOW - YEAR, NOW + YEAR);
    tpm->key = signed_party(curve, "attestation key", &tpm->root, false, NOW - YEAR, NOW + YEAR);
    for (size_t i = 0; i < CR_TPM_PCRS; i++) memset(tpm->pcrs[i], (int)(0x10 + i), 32);
}

static void tpm_free(struct tpm *tpm)
{
    party_free(&tpm->root);
    party_free(&tpm->key);
}

static void put_big(struct cr_buffer *out, uint64_t value, size_t size)
{
    for (size_t i = size; i-- > 0;) assert_ok(cr_append_u8(out, (uint8_t)(value >> (8 * i))));
}

static void put_message(struct cr_buffer *out, const struct tpm *tpm)
{
    unsigned char digest[32];
    struct cr_buffer all = {0};
    for (size_t i = 0; i < CR_TPM_PCRS; i++)
        if (tpm->selected >> i & 1) assert_ok(cr_append(&all, tpm->pcrs[i], 32));
    assert_ok(cr_sha256(cr_buffer_slice(&all), digest));
    cr_buffer_release(&all);
    put_big(out, 0xff544347, 4);
    put_big(out, 0x8018, 2);
    put_big(out, 2, 2);
    put_big(out, 0xabcd, 2); // qualified signer
    put_big(out, 4, 2);
    put_big(out, 0xdeadbeef, 4); // challenge
    put_big(out, 123456, 8);     // clock
    put_big(out, 7, 4);
    put_big(out, 8, 4);
    put_big(out, 1, 1);
    put_big(out, 0x20240101, 8); // firmware
    put_big(out, 1, 4);
    put_big(out, 0x000b, 2);
    put_big(out, 3, 1);
    for (size_t i = 0; i < 3; i++) put_big(out, tpm->selected >> (8 * i) & 0xff, 1);
    put_big(out, 32, 2);
    assert_ok(cr_append(out, digest, 32));
}

static void put_signature(struct cr_buffer *out, const struct tpm *tpm, const struct cr_buffer *message)
{
    unsigned char bytes[512];
    if (!EVP_PKEY_is_a(tpm->key.key, "RSA")) {
        sign_raw(tpm->key.key, message->data, message->size, 32, bytes);
        put_big(out, 0x0018, 2);
        put_big(out, 0x000b, 2);
        for (size_t i = 0; i < 2; i++) {
            put_big(out, 32, 2);
            assert_ok(cr_append(out, bytes + 32 * i, 32));
        }
        return;
    }
    size_t size = sizeof bytes;
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    assert_int_equal(EVP_DigestSignInit(context, NULL, EVP_sha256(), NULL, tpm->key.key), 1);
    assert_int_equal(EVP_DigestSign(context, bytes, &size, message->data, message->size), 1);
    EVP_MD_CTX_free(context);
    if (!tpm->raw_signature) {
        put_big(out, 0x0014, 2);
        put_big(out, 0x000b, 2);
        put_big(out, size, 2);
    }
    assert_ok(cr_append(out, bytes, size));
}

static void put_quote(struct cr_buffer *out, const struct cr_buffer *message,
                      const struct cr_buffer *signature, const struct tpm *tpm)
{
    assert_ok(cr_append_format(out, "{\"message\": \""));
    put_hex(out, message->data, message->size);
    assert_ok(cr_append_format(out, "\", \"signature\": \""));
    put_hex(out, signature->data, signature->size);
    assert_ok(cr_append_format(out, "\", \"pcrs\": ["));
    for (size_t i = 0; i < CR_TPM_PCRS; i++) {
        assert_ok(cr_append_format(out, "%s\"", i > 0 ? ", " : ""));
        put_hex(out, tpm->pcrs[i], 32);
        assert_ok(cr_append_format(out, "\""));
    }
    assert_ok(cr_append_format(out, "]}"));
}

static void appraise_text(const struct tpm *tpm, const struct cr_buffer *text, const char *lines,
                          struct cr_appraisal *out)
{
    CR_CLEANUP(cr_endorsements_release) struct cr_endorsements *endorsements = NULL;
    CR_CLEANUP(cr_buffer_release) struct cr_buffer pem = {0}, crl = {0};
    assert_ok(cr_endorsements_new(&endorsements));
    put_pem(&pem, &tpm->root);
    if (!tpm->no_certificate) put_pem(&pem, &tpm->key);
    put_crl(&crl, &tpm->root, NULL, NOW - DAY, NOW + DAY);
    assert_ok(cr_endorsements_add(endorsements, cr_buffer_slice(&pem)));
    assert_ok(cr_endorsements_add(endorsements, cr_buffer_slice(&crl)));
    struct cr_appraisal_policy policy;
    trust(&tpm->root, lines, &policy);
    const struct cr_grounds grounds = {.endorsements = endorsements, .policy = &policy, .time = NOW};
    *out = (struct cr_appraisal){0};
    assert_ok(cr_appraise_tpm(cr_buffer_slice(text), &grounds, out));
    cr_appraisal_policy_release(&policy);
}

static void appraise(const struct tpm *tpm, const char *lines, struct cr_appraisal *out)
{
    CR_CLEANUP(cr_buffer_release) struct cr_buffer message = {0}, signature = {0}, text = {0};
    put_message(&message, tpm);
    put_signature(&signature, tpm, &message);
    put_quote(&text, &message, &signature, tpm);
    appraise_text(tpm, &text, lines, out);
}

#define PCR4 "\"1414141414141414141414141414141414141414141414141414141414141414\""
#define PCR7 "\"1717171717171717171717171717171717171717171717171717171717171717\""
#define GOOD                                                                                                 \
    "report_data: deadbeef\ntpm:\n  allow_measured_boot: true\n  pcrs:\n  - {index: 4, values: " PCR4        \
    "}\n  - {index: 7, values: [" PCR4 ", " PCR7 "]}\n"

static void test_whole_quotes_are_affirmed(void **state)
{
    (void)state;
    static const char *const curves[] = {"RSA", "RSA", "P-256"};
    for (size_t i = 0; i < 3; i++) {
        struct tpm tpm;
        struct cr_appraisal a;
        tpm_make(&tpm, curves[i]);
        tpm.raw_signature = i == 1;
        appraise(&tpm, GOOD, &a);
        if (cr_appraisal_verdict(&a) != CR_AFFIRMED) fail_msg("%zu: %s", i, cr_appraisal_reason(&a));
        assert_true(a.signature_valid);
        cr_appraisal_release(&a);
        // By itself a TPM is not enough, whatever its PCRs hold.
        appraise(&tpm, "", &a);
        assert_true(a.signature_valid);
        assert_only(&a, "measured_boot", CR_REFUSED, "keeps nobody who owns the machine from it");
        assert_int_equal(finding_of(&a, "program")->outcome, CR_UNCHECKED);
        cr_appraisal_release(&a);
        tpm_free(&tpm);
    }
}

static void test_one_thing_wrong(void **state)
{
    (void)state;
    struct tpm tpm;
    struct cr_appraisal a;
    tpm_make(&tpm, "P-256");
    tpm.pcrs[7][31] ^= 1;
    appraise(&tpm, GOOD, &a);
    assert_only(&a, "pcr7", CR_REFUSED, "1717171717171716 is not among");
    cr_appraisal_release(&a);
    tpm.pcrs[7][31] ^= 1;
    tpm.selected = 0x1f;
    appraise(&tpm, GOOD, &a);
    assert_only(&a, "pcr7", CR_REFUSED, "not among the PCRs quoted");
    cr_appraisal_release(&a);
    tpm.selected = SELECTED;
    appraise(&tpm, "report_data: [deadbe, deadbeef01]\n", &a);
    assert_int_equal(finding_of(&a, "report_data")->outcome, CR_REFUSED);
    cr_appraisal_release(&a);

    CR_CLEANUP(cr_buffer_release) struct cr_buffer message = {0}, signature = {0}, text = {0};
    put_message(&message, &tpm);
    put_signature(&signature, &tpm, &message);
    tpm.pcrs[4][0] ^= 1; // what lies beside the quote is not what was quoted
    put_quote(&text, &message, &signature, &tpm);
    appraise_text(&tpm, &text, "tpm: {allow_measured_boot: true}\n", &a);
    assert_only(&a, "pcr_digest", CR_REFUSED, "over other PCRs");
    assert_false(a.signature_valid);
    cr_appraisal_release(&a);
    tpm.pcrs[4][0] ^= 1;

    tpm.no_certificate = true;
    appraise(&tpm, GOOD, &a);
    assert_only(&a, "quote_signature", CR_REFUSED, "no attestation key of the endorsements");
    assert_false(a.signature_valid);
    cr_appraisal_release(&a);
    tpm.no_certificate = false;
    struct tpm other;
    tpm_make(&other, "P-256");
    struct party root = tpm.root;
    tpm.root = other.root;
    appraise(&tpm, GOOD, &a);
    assert_only(&a, "attestation_key", CR_REFUSED, "to one of the policy's trusted_roots");
    assert_false(a.signature_valid);
    cr_appraisal_release(&a);
    tpm.root = root;
    tpm_free(&tpm);
    tpm_free(&other);
}

static void test_every_flipped_bit_is_found(void **state)
{
    (void)state;
    struct tpm tpm;
    CR_CLEANUP(cr_buffer_release) struct cr_buffer message = {0}, signature = {0};
    tpm_make(&tpm, "P-256");
    put_message(&message, &tpm);
    put_signature(&signature, &tpm, &message);
    for (size_t at = 0; at < message.size + signature.size; at++) {
        CR_CLEANUP(cr_buffer_release) struct cr_buffer text = {0};
        struct cr_appraisal a;
        unsigned char *byte = at < message.size ? message.data + at : signature.data + at - message.size;
        *byte ^= (unsigned char)(1 << at % 8);
        put_quote(&text, &message, &signature, &tpm);
        appraise_text(&tpm, &text, GOOD, &a);
        if (cr_appraisal_verdict(&a) != CR_CONTRADICTED || a.signature_valid) fail_msg("byte %zu", at);
        cr_appraisal_release(&a);
        *byte ^= (unsigned char)(1 << at % 8);
    }
    tpm_free(&tpm);
}

static void test_forms_that_are_not_read(void **state)
{
    (void)state;
    struct tpm tpm;
    struct cr_tpm_quote quote;
    CR_CLEANUP(cr_buffer_release) struct cr_buffer message = {0};
    tpm_make(&tpm, "P-256");
    put_message(&message, &tpm);
    assert_ok(cr_tpm_quote_parse(cr_buffer_slice(&message), &quote));
    assert_int_equal(quote.selected, SELECTED);
    assert_int_equal(quote.firmware_version, 0x20240101);
    for (size_t size = 0; size < message.size; size++)
        assert_int_equal(cr_tpm_quote_parse((struct cr_slice){message.data, size}, &quote), CR_INVALID);
    static const struct {
        size_t at;
        unsigned char value;
        const char *why;
    } cases[] = {
        {5, 0x17, "does not begin as one"}, {44, 2, "PCRs of 2 banks"},
        {46, 0x12, "bank 0x0012"},          {47, 2, "a digest of"},
        {47, 5, "a selection of 5 bytes"},  {52, 31, "a digest of 31 bytes"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        unsigned char before = message.data[cases[i].at];
        message.data[cases[i].at] = cases[i].value;
        enum cr_status status = cr_tpm_quote_parse(cr_buffer_slice(&message), &quote);
        if (status == CR_OK || !strstr(cr_error_message(), cases[i].why))
            fail_msg("case %zu: %s", i, cr_error_message());
        message.data[cases[i].at] = before;
    }
    assert_ok(cr_append_u8(&message, 0));
    assert_fails(CR_INVALID, "bytes behind its end", cr_tpm_quote_parse(cr_buffer_slice(&message), &quote));
    tpm_free(&tpm);
}

// What the job says of the age of collateral holds for the hardware that vouches for a TPM's key as well.
static void test_the_floor_reaches_the_hardware(void **state)
{
    (void)state;
    enum { JUNE = 1750809600 };
    static const char lines[] = "allow_tcb_status: [OutOfDate]\nallow_missing_crl: true\n"
                                "allow_unknown_program: true\ntpm: {allow_measured_boot: true}\n";
    const char *data = shared_data();
    CR_CLEANUP(cr_endorsements_release) struct cr_endorsements *endorsements = NULL;
    CR_CLEANUP(cr_evidence_release) struct cr_evidence evidence = {0};
    CR_CLEANUP(cr_buffer_release) struct cr_buffer file = {0};
    struct cr_appraisal_policy policy;
    char path[512];
    snprintf(path, sizeof path, "%s/attestation/tpm/az-tdx_evidence_v0.json", data);
    assert_ok(cr_file_read(path, 1 << 20, &file));
    const enum cr_evidence_type tpm = CR_EVIDENCE_TPM;
    assert_ok(cr_evidence_find(cr_buffer_slice(&file), &tpm, &evidence));
    snprintf(path, sizeof path, "%s/attestation", data);
    assert_ok(cr_endorsements_new(&endorsements));
    assert_ok(cr_endorsements_read(endorsements, path));
    assert_ok(cr_endorsements_add(endorsements, cr_buffer_slice(&file)));
    assert_ok(cr_appraisal_policy_parse(cr_slice_of_string(lines), "policy", &policy));
    struct cr_grounds grounds = {.endorsements = endorsements, .policy = &policy, .time = JUNE};
    for (int i = 0; i < 2; i++) {
        CR_CLEANUP(cr_appraisal_release) struct cr_appraisal a = {0};
        grounds.collateral_floor = i ? JUNE : 0;
        assert_ok(cr_appraise(&evidence, &grounds, &a));
        assert_int_equal(cr_appraisal_verdict(&a), i ? CR_CONTRADICTED : CR_AFFIRMED);
        if (i) assert_non_null(strstr(cr_appraisal_reason(&a), "earlier than the job asks for"));
    }
    cr_appraisal_policy_release(&policy);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_whole_quotes_are_affirmed),      cmocka_unit_test(test_one_thing_wrong),
        cmocka_unit_test(test_every_flipped_bit_is_found),     cmocka_unit_test(test_forms_that_are_not_read),
        cmocka_unit_test(test_the_floor_reaches_the_hardware),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
