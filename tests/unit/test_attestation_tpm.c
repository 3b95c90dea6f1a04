// attestation/: quotes of TPMs, by keys that a certificate or a confidential VM's report vouches for.
#include "appraisal_support.h"
#include "event_log_support.h"
#include "pki_support.h"

#include "attestation/appraise.h"
#include "attestation/evidence.h"
#include "attestation/hcl.h"
#include "attestation/tpm.h"
#include "base/file.h"
#include "crypto/hash.h"

enum { NOW = 1750000000, SELECTED = 0x00009f };

struct tpm {
    struct party root, key;
    unsigned char pcrs[CR_TPM_PCRS][32];
    bool raw_signature, no_certificate;
    size_t challenge_size;      // of zeros; 0: deadbeef
    size_t number_size;         // of each number of an ECDSA signature
    size_t pcr_count, pcr_size; // beside the quote
    uint32_t selected;
    struct cr_slice brought, event_log;
};

static void tpm_make(struct tpm *tpm, const char *curve)
{
    *tpm = (struct tpm){.selected = SELECTED, .number_size = 32, .pcr_count = CR_TPM_PCRS, .pcr_size = 32};
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
    put_big(out, tpm->challenge_size ? tpm->challenge_size : 4, 2);
    for (size_t i = 0; i < tpm->challenge_size; i++) put_big(out, 0, 1);
    if (tpm->challenge_size == 0) put_big(out, 0xdeadbeef, 4);
    put_big(out, 123456, 8); // clock
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
        // A shorter number is one that begins with a zero.
        do sign_raw(tpm->key.key, message->data, message->size, 32, bytes);
        while (tpm->number_size < 32 && bytes[0] != 0);
        put_big(out, 0x0018, 2);
        put_big(out, 0x000b, 2);
        for (size_t i = 0; i < 2; i++) {
            size_t size = i == 0 || tpm->number_size > 32 ? tpm->number_size : 32;
            put_big(out, size, 2);
            if (size > 32) put_big(out, 0, size - 32);
            size_t left = size < 32 ? size : 32;
            assert_ok(cr_append(out, bytes + 32 * (i + 1) - left, left));
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
    for (size_t i = 0; i < tpm->pcr_count; i++) {
        assert_ok(cr_append_format(out, "%s\"", i > 0 ? ", " : ""));
        put_hex(out, tpm->pcrs[i], tpm->pcr_size);
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
    assert_ok(cr_endorsements_add(endorsements, tpm->brought));
    struct cr_appraisal_policy policy;
    trust(&tpm->root, lines, &policy);
    const struct cr_grounds grounds = {
        .endorsements = endorsements, .policy = &policy, .time = NOW, .event_log = tpm->event_log};
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
    static const char *const curves[] = {"RSA", "RSA", "P-256", "P-256", "P-256"};
    for (size_t i = 0; i < 5; i++) {
        struct tpm tpm;
        struct cr_appraisal a;
        tpm_make(&tpm, curves[i]);
        tpm.raw_signature = i == 1;
        if (i >= 3) tpm.number_size = i == 3 ? 31 : 33; // without its zero, and with one more
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

static void test_what_lies_beside_quotes(void **state)
{
    (void)state;
    static const struct {
        size_t challenge_size, number_size, pcr_count, pcr_size;
        const char *lines, *check, *why;
    } cases[] = {
        {0, 32, 23, 32, GOOD, "format", "23 PCRs beside it, not 24"},
        {0, 32, 24, 31, GOOD, "format", "PCR 0 of 31 bytes, not 32"},
        {65, 32, 24, 32, "report_data: deadbeef\ntpm: {allow_measured_boot: true}\n", "report_data",
         "65 bytes of report data, not up to 64"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct tpm tpm;
        struct cr_appraisal a;
        tpm_make(&tpm, "P-256");
        tpm.challenge_size = cases[i].challenge_size;
        tpm.pcr_count = cases[i].pcr_count;
        tpm.pcr_size = cases[i].pcr_size;
        appraise(&tpm, cases[i].lines, &a);
        assert_only(&a, cases[i].check, CR_REFUSED, cases[i].why);
        cr_appraisal_release(&a);
        tpm_free(&tpm);
    }
}

// Register 4 of the log is PCR 4; PCR 8, which it extends too, is not quoted.
static void test_event_logs(void **state)
{
    (void)state;
    struct tpm tpm;
    struct cr_appraisal a;
    unsigned char digest[32];
    CR_CLEANUP(cr_buffer_release) struct cr_buffer log = {0};
    put_log_header(&log);
    put_event(&log, 4, 1, 0x55, "", 0);
    put_event(&log, 8, 1, 0x66, "", 0);
    tpm_make(&tpm, "P-256");
    tpm.event_log = cr_buffer_slice(&log);
    appraise(&tpm, "tpm: {allow_measured_boot: true}\n", &a);
    assert_only(&a, "event_log", CR_REFUSED, "another value of register 4");
    cr_appraisal_release(&a);
    memset(tpm.pcrs[4], 0, 32);
    memset(digest, 0x55, sizeof digest);
    extend(tpm.pcrs[4], digest, 32);
    appraise(&tpm, "tpm: {allow_measured_boot: true}\nallow_unknown_program: true\n", &a);
    if (cr_appraisal_verdict(&a) != CR_AFFIRMED) fail_msg("%s", cr_appraisal_reason(&a));
    assert_int_equal(finding_of(&a, "event_log")->outcome, CR_PASSED);
    cr_appraisal_release(&a);
    tpm_free(&tpm);
}

static void put_base64url(struct cr_buffer *out, const BIGNUM *number)
{
    unsigned char bytes[256], text[400];
    int size = BN_bn2bin(number, bytes), length = EVP_EncodeBlock(text, bytes, size);
    for (int i = 0; i < length && text[i] != '='; i++)
        assert_ok(cr_append_u8(out, text[i] == '+' ? '-' : text[i] == '/' ? '_' : text[i]));
}

// What Azure's paravisor keeps, with the TPM's key behind three that are not it; the hardware's report is
// zeros.
static void put_hcl(struct cr_buffer *out, const struct tpm *tpm, uint32_t kind, uint32_t hash)
{
    struct cr_buffer data = {0};
    BIGNUM *modulus = NULL, *exponent = NULL;
    const unsigned char zeros[28 + 1184] = {0};
    EVP_PKEY_get_bn_param(tpm->key.key, OSSL_PKEY_PARAM_RSA_N, &modulus);
    EVP_PKEY_get_bn_param(tpm->key.key, OSSL_PKEY_PARAM_RSA_E, &exponent);
    assert_ok(cr_append_format(&data,
                               "{\"keys\": [{\"kid\": \"HCLEkPub\", \"kty\": \"RSA\"}, "
                               "{\"kid\": \"HCLAkPub\", \"kty\": \"EC\"}, "
                               "{\"kid\": \"HCLAkPub\", \"kty\": \"RSA\", \"n\": \"*\", \"e\": \"AQAB\"}, "
                               "{\"kid\": \"HCLAkPub\", \"kty\": \"RSA\", \"n\": \""));
    put_base64url(&data, modulus);
    assert_ok(cr_append_format(&data, "\", \"e\": \""));
    put_base64url(&data, exponent);
    assert_ok(cr_append_format(&data, "\"}]}"));
    assert_ok(cr_append(out, "HCLA", 4));
    assert_ok(cr_append(out, zeros, sizeof zeros));
    const uint32_t numbers[] = {(uint32_t)data.size + 20, 1, kind, hash, (uint32_t)data.size};
    for (size_t i = 0; i < 5; i++) assert_ok(cr_append_u32(out, numbers[i]));
    assert_ok(cr_append(out, data.data, data.size));
    cr_buffer_release(&data);
    BN_free(modulus);
    BN_free(exponent);
}

// The paravisor's data name the key, and no hardware vouches for the data.
static void test_a_key_that_no_hardware_vouches_for(void **state)
{
    (void)state;
    static const struct {
        uint32_t kind, hash;
        const char *check, *why;
    } cases[] = {
        {4, 1, "attestation_key", "no TDX quote that is bound to the vTPM's key is among the endorsements"},
        {2, 1, "attestation_key", "SNP report: of version 0"},
        {3, 1, "quote_signature", "no attestation key of the endorsements"},
        {4, 2, "quote_signature", "no attestation key of the endorsements"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct tpm tpm;
        struct cr_appraisal a;
        struct cr_hcl hcl;
        CR_CLEANUP(cr_buffer_release) struct cr_buffer bytes = {0};
        tpm_make(&tpm, "RSA");
        put_hcl(&bytes, &tpm, cases[i].kind, cases[i].hash);
        tpm.brought = cr_buffer_slice(&bytes);
        tpm.no_certificate = true;
        appraise(&tpm, GOOD, &a);
        assert_int_equal(cr_appraisal_verdict(&a), CR_CONTRADICTED);
        assert_only(&a, cases[i].check, CR_REFUSED, cases[i].why);
        assert_false(a.signature_valid);
        cr_appraisal_release(&a);
        if (i >= 2)
            assert_fails(CR_UNSUPPORTED, i == 2 ? "of kind 3" : "a hash of kind 2",
                         cr_hcl_parse(tpm.brought, &hcl));
        tpm_free(&tpm);
    }
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
        cmocka_unit_test(test_whole_quotes_are_affirmed),
        cmocka_unit_test(test_one_thing_wrong),
        cmocka_unit_test(test_what_lies_beside_quotes),
        cmocka_unit_test(test_event_logs),
        cmocka_unit_test(test_a_key_that_no_hardware_vouches_for),
        cmocka_unit_test(test_every_flipped_bit_is_found),
        cmocka_unit_test(test_forms_that_are_not_read),
        cmocka_unit_test(test_the_floor_reaches_the_hardware),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
