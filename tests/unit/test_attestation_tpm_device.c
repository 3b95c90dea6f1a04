// attestation/: evidence of a TPM and secrets that it seals, with swtpm.
#include "appraisal_support.h"
#include "pki_support.h"
#include "tpm_support.h"

#include "attestation/appraise.h"
#include "attestation/attester.h"
#include "attestation/sealing_key.h"
#include "attestation/tpm_seal.h"
#include "base/file.h"
#include "base/secret.h"
#include "format/json.h"

enum { NOW = 1750000000 };

static const unsigned char nonce[CR_REPORT_DATA_SIZE] = {0xca, 0xfe, [31] = 0x77};
#define NONCE "cafe000000000000000000000000000000000000000000000000000000000077"
#define ZEROS "0000000000000000000000000000000000000000000000000000000000000000"
// PCR 4 after it was extended by thirty-two bytes of 0x11, by Python's hashlib.
#define EXTENDED "8878b15a7d6a3a4f464e8f9f42591dbc0cf4bedea0ec309003d2b2ee53655ef8"

static struct swtpm machine; // the one that most tests have

// Switches the machine off and on again.
static void boot(void)
{
    swtpm_stop(&machine);
    swtpm_start(&machine, "machine", "not-need-init,startup-clear");
}

// The evidence, as whoever gets it reads it.
static void attest(const char *path, struct cr_evidence *out, struct cr_buffer *text)
{
    enum cr_evidence_type type = CR_EVIDENCE_TYPES;
    const struct cr_attester_places places = {.tpm = path};
    enum cr_status status = cr_attester_attest(CR_ATTESTER_TPM, &places, nonce, &type, text);
    if (status == CR_UNSUPPORTED) skip(); // built without tpm2-tss
    assert_ok(status);
    assert_int_equal(type, CR_EVIDENCE_TPM);
    assert_ok(cr_evidence_find(cr_buffer_slice(text), NULL, out));
    assert_int_equal(out->type, CR_EVIDENCE_TPM);
}

// The maker's certificate for the key that the evidence names.
static void certify(const struct party *maker, const struct cr_buffer *text, struct cr_buffer *pem)
{
    struct cr_json *root = NULL;
    assert_ok(cr_json_parse(cr_buffer_slice(text), "evidence", &root));
    struct cr_slice public = cr_json_string(cr_json_member(root, "public_key"));
    BIO *bio = BIO_new_mem_buf(public.data, (int)public.size);
    EVP_PKEY *key = PEM_read_bio_PUBKEY(bio, NULL, NULL, NULL);
    assert_non_null(key);
    struct party party = new_party("P-256", "attestation key", maker, false, NOW - DAY, NOW + DAY);
    assert_int_equal(X509_set_pubkey(party.certificate, key), 1);
    sign_certificate(party.certificate, maker);
    put_pem(pem, maker);
    put_pem(pem, &party);
    put_crl(pem, maker, NULL, NOW - DAY, NOW + DAY);
    party_free(&party);
    EVP_PKEY_free(key);
    BIO_free(bio);
    cr_json_release(&root);
}

static void appraise(const struct cr_evidence *evidence, const struct cr_buffer *pem,
                     const struct party *maker, const char *lines, struct cr_appraisal *out)
{
    CR_CLEANUP(cr_endorsements_release) struct cr_endorsements *endorsements = NULL;
    CR_CLEANUP(cr_buffer_release) struct cr_buffer more = {0};
    struct cr_appraisal_policy policy;
    assert_ok(cr_endorsements_new(&endorsements));
    assert_ok(cr_endorsements_add(endorsements, cr_buffer_slice(pem)));
    assert_ok(cr_append_format(&more, "allow_missing_crl: true\n%s", lines));
    trust(maker, cr_buffer_text(&more), &policy);
    const struct cr_grounds grounds = {.endorsements = endorsements, .policy = &policy, .time = NOW};
    *out = (struct cr_appraisal){0};
    assert_ok(cr_appraise(evidence, &grounds, out));
    cr_appraisal_policy_release(&policy);
}

#define POLICY(nonce, pcr4)                                                                                  \
    "report_data: [\"" nonce "\"]\ntpm:\n  allow_measured_boot: true\n  pcrs:\n"                             \
    "  - {index: 4, values: [\"" pcr4 "\"]}\n  - {index: 7, values: [\"" ZEROS "\"]}\n"

static void quotes_are_appraised(void **state)
{
    (void)state;
    boot();
    CR_CLEANUP(cr_evidence_release) struct cr_evidence evidence = {0}, later = {0};
    CR_CLEANUP(cr_buffer_release) struct cr_buffer text = {0}, pem = {0}, text_later = {0};
    struct party maker = signed_party("P-256", "TPM maker", NULL, true, NOW - DAY, NOW + DAY);
    struct cr_appraisal a;
    attest(machine.path, &evidence, &text);
    certify(&maker, &text, &pem);
    appraise(&evidence, &pem, &maker, POLICY(NONCE, ZEROS), &a);
    if (cr_appraisal_verdict(&a) != CR_AFFIRMED) fail_msg("%s", cr_appraisal_reason(&a));
    assert_true(a.signature_valid);
    cr_appraisal_release(&a);

    appraise(&evidence, &pem, &maker, POLICY(ZEROS, ZEROS), &a);
    assert_only(&a, "report_data", CR_REFUSED, "is not among the policy's values of report_data");
    cr_appraisal_release(&a);
    appraise(&evidence, &pem, &maker, "tpm: {pcrs: [{index: 4, values: [\"" ZEROS "\"]}]}\n", &a);
    assert_only(&a, "measured_boot", CR_REFUSED, "allow_measured_boot");
    cr_appraisal_release(&a);

    // Something else was booted: the certificate is good for this quote too, the reference values are not.
    swtpm_extend(&machine, 4, 0x11);
    attest(machine.path, &later, &text_later);
    appraise(&later, &pem, &maker, POLICY(NONCE, ZEROS), &a);
    assert_only(&a, "pcr4", CR_REFUSED, EXTENDED " is not among the policy's values of pcr4");
    assert_true(a.signature_valid);
    cr_appraisal_release(&a);
    appraise(&later, &pem, &maker, POLICY(NONCE, EXTENDED), &a);
    assert_int_equal(cr_appraisal_verdict(&a), CR_AFFIRMED);
    cr_appraisal_release(&a);
    party_free(&maker);
}

static void the_key_is_the_machines(void **state)
{
    (void)state;
    boot();
    struct swtpm other = {0};
    CR_CLEANUP(cr_evidence_release) struct cr_evidence first = {0}, again = {0}, others = {0};
    CR_CLEANUP(cr_buffer_release) struct cr_buffer text = {0}, pem = {0}, text_again = {0}, text_others = {0};
    struct party maker = signed_party("P-256", "TPM maker", NULL, true, NOW - DAY, NOW + DAY);
    struct cr_appraisal a;
    attest(machine.path, &first, &text);
    certify(&maker, &text, &pem);
    boot();
    attest(machine.path, &again, &text_again);
    appraise(&again, &pem, &maker, POLICY(NONCE, ZEROS), &a);
    assert_int_equal(cr_appraisal_verdict(&a), CR_AFFIRMED);
    cr_appraisal_release(&a);
    swtpm_start(&other, "other", "not-need-init,startup-clear");
    attest(other.path, &others, &text_others);
    swtpm_stop(&other);
    appraise(&others, &pem, &maker, POLICY(NONCE, ZEROS), &a);
    assert_only(&a, "quote_signature", CR_REFUSED, "no attestation key of the endorsements");
    cr_appraisal_release(&a);
    party_free(&maker);
}

// swtpm has room for three keys and three sessions, and nobody who would put them aside.
static void nothing_is_left_in_the_tpm(void **state)
{
    (void)state;
    boot();
    for (size_t i = 0; i < 5; i++) {
        CR_CLEANUP(cr_evidence_release) struct cr_evidence evidence = {0};
        CR_CLEANUP(cr_buffer_release) struct cr_buffer text = {0}, sealed = {0};
        unsigned char secret[32];
        memset(secret, (int)i, sizeof secret);
        attest(machine.path, &evidence, &text);
        assert_ok(cr_tpm_seal(machine.path, (struct cr_slice){secret, sizeof secret}, &sealed));
        assert_ok(cr_tpm_unseal(machine.path, cr_buffer_slice(&sealed), secret, sizeof secret));
        assert_fails(CR_INVALID, "has 32 bytes, not 31",
                     cr_tpm_unseal(machine.path, cr_buffer_slice(&sealed), secret, 31));
    }
}

static const unsigned char key[32] = {1, 2, 3, [31] = 4};

// Skips the test in a program without tpm2-tss.
static void seal(struct cr_buffer *out)
{
    enum cr_status status = cr_tpm_seal(machine.path, (struct cr_slice){key, sizeof key}, out);
    if (status == CR_UNSUPPORTED) skip();
    assert_ok(status);
}

static void assert_opens(struct cr_slice sealed)
{
    unsigned char opened[sizeof key] = {0};
    assert_ok(cr_tpm_unseal(machine.path, sealed, opened, sizeof opened));
    assert_memory_equal(opened, key, sizeof key);
}

static void assert_stays_shut(enum cr_status status, const char *sentence, struct cr_slice sealed)
{
    unsigned char opened[sizeof key] = {0};
    assert_fails(status, sentence, cr_tpm_unseal(machine.path, sealed, opened, sizeof opened));
    assert_true(cr_slice_is_zero((struct cr_slice){opened, sizeof opened}));
}

static void a_secret_opens_where_the_same_was_booted(void **state)
{
    (void)state;
    enum { VALUES_AT = 20, VALUE_SIZE = 32, FOURTH = 3 }; // PCRs 0, 2, 4 and 7
    boot();
    CR_CLEANUP(cr_buffer_release) struct cr_buffer sealed = {0};
    seal(&sealed);
    for (size_t at = 0; at + sizeof key <= sealed.size; at++)
        assert_memory_not_equal(sealed.data + at, key, sizeof key);
    assert_opens(cr_buffer_slice(&sealed));
    swtpm_extend(&machine, 10, 1); // what a kernel does all the time
    assert_opens(cr_buffer_slice(&sealed));
    swtpm_extend(&machine, 7, 0x11);
    assert_stays_shut(CR_DENIED, "was sealed to other values of PCR 7: this machine was started otherwise",
                      cr_buffer_slice(&sealed));
    swtpm_extend(&machine, 4, 0x11);
    assert_stays_shut(CR_DENIED, "other values of PCR 4, 7: ", cr_buffer_slice(&sealed));
    boot();
    assert_opens(cr_buffer_slice(&sealed));

    // Who writes the values that there are now into what was sealed gets nothing: it is the TPM that refuses.
    swtpm_extend(&machine, 7, 0x11);
    unsigned char extended[VALUE_SIZE];
    assert_ok(cr_hex_decode(EXTENDED, extended, sizeof extended));
    memcpy(sealed.data + VALUES_AT + FOURTH * VALUE_SIZE, extended, sizeof extended);
    assert_stays_shut(CR_DENIED, "was sealed to other values of PCRs than there are now",
                      cr_buffer_slice(&sealed));
}

static void a_secret_is_its_tpms(void **state)
{
    (void)state;
    boot();
    struct swtpm other = {0};
    CR_CLEANUP(cr_buffer_release) struct cr_buffer sealed = {0};
    unsigned char opened[sizeof key];
    seal(&sealed);
    swtpm_start(&other, "other", "not-need-init,startup-clear");
    enum cr_status status = cr_tpm_unseal(other.path, cr_buffer_slice(&sealed), opened, sizeof opened);
    swtpm_stop(&other);
    assert_fails(CR_DENIED, "was sealed by another TPM, or by this one before it was cleared", status);

    struct cr_slice part = cr_buffer_slice(&sealed);
    for (part.size = 0; part.size < sealed.size; part.size++)
        assert_stays_shut(CR_INVALID, "that a TPM has sealed", part);
    // No flipped bit opens it to anything; what it is refused for depends on where it was.
    for (size_t at = 0; at < sealed.size; at += 5) {
        sealed.data[at] ^= 0x10;
        assert_int_not_equal(cr_tpm_unseal(machine.path, cr_buffer_slice(&sealed), opened, sizeof opened),
                             CR_OK);
        sealed.data[at] ^= 0x10;
    }
    assert_opens(cr_buffer_slice(&sealed));
    assert_ok(cr_append_u8(&sealed, 0));
    assert_stays_shut(CR_INVALID, "malformed", cr_buffer_slice(&sealed));
    assert_fails(CR_INVALID, "seals 1 to 128 bytes, not 129",
                 cr_tpm_seal(machine.path, (struct cr_slice){sealed.data, 129}, &sealed));
}

static void a_sealing_key_is_kept(void **state)
{
    (void)state;
    boot();
    const struct cr_sealing_places places = {"/nonexistent", "/nonexistent", "/nonexistent", machine.path};
    struct cr_sealing_key *first, *again;
    CR_CLEANUP(cr_buffer_release) struct cr_buffer file = {0};
    enum cr_status status = cr_sealing_key_get("tpm", &places, directory, &first);
    if (status == CR_UNSUPPORTED) skip();
    assert_ok(status);
    assert_string_equal(first->source, "tpm");
    assert_false(cr_sealing_key_is_development(first));
    boot();
    assert_ok(cr_sealing_key_get("tpm", &places, directory, &again));
    assert_memory_equal(first->key, again->key, sizeof first->key);
    assert_false(cr_slice_is_zero((struct cr_slice){first->key, sizeof first->key}));
    swtpm_extend(&machine, 8, 1);
    struct cr_sealing_key *none = NULL;
    assert_fails(CR_DENIED, "other values of PCR 8", cr_sealing_key_get("tpm", &places, directory, &none));
    assert_non_null(strstr(cr_error_message(), "/sealing.tpm: "));
    assert_null(none);
    assert_ok(cr_file_read(in_directory("sealing.tpm"), 4096, &file));
    for (size_t at = 0; at + sizeof first->key <= file.size; at++)
        assert_memory_not_equal(file.data + at, first->key, sizeof first->key);
    cr_secret_free(&first);
    cr_secret_free(&again);
}

static void assert_attest_fails(const char *path, const unsigned char *data, enum cr_status wanted,
                                const char *sentence)
{
    enum cr_evidence_type type = CR_EVIDENCE_TYPES;
    CR_CLEANUP(cr_buffer_release) struct cr_buffer out = {0};
    const struct cr_attester_places places = {.tpm = path};
    enum cr_status status = cr_attester_attest(CR_ATTESTER_TPM, &places, data, &type, &out);
    if (status == CR_UNSUPPORTED && strstr(cr_error_message(), "built without")) skip();
    assert_fails(wanted, sentence, status);
    assert_true(out.size == 0 && type == CR_EVIDENCE_TYPES);
}

static void where_there_is_no_tpm(void **state)
{
    (void)state;
    static const unsigned char long_nonce[CR_REPORT_DATA_SIZE] = {[32] = 1};
    struct false_tpm nobody;
    char longest[200];
    assert_attest_fails("/nonexistent/tpmrm0", nonce, CR_NOT_FOUND,
                        "/nonexistent/tpmrm0: not there: this machine has no TPM 2.0");
    assert_attest_fails("/dev/null/tpm0", nonce, CR_NOT_FOUND, "not there");
    assert_attest_fails(directory, nonce, CR_INVALID, "neither a device nor a unix socket");
    assert_attest_fails("/dev/null", nonce, CR_IO, "/dev/null: the TPM's answer is cut off");
    assert_attest_fails("/dev/full", nonce, CR_IO, "/dev/full: the TPM takes no command: No space left");
    assert_attest_fails("/dev/null", long_nonce, CR_INVALID, "bound to 32 bytes of report data, not to more");
    memset(longest, 'a', sizeof longest);
    longest[sizeof longest - 1] = 0;
    assert_attest_fails(longest, nonce, CR_NOT_FOUND, "not there");
    false_tpm_start(&nobody, (struct cr_slice){NULL, 0});
    assert_attest_fails(nobody.path, nonce, CR_IO, "false.socket: the TPM's answer is cut off");
    false_tpm_stop(&nobody);
    assert_attest_fails(nobody.path, nonce, CR_IO, "false.socket: no TPM answers there: Connection refused");
    struct swtpm cold = {0};
    swtpm_start(&cold, "cold", "not-need-init");
    assert_attest_fails(cold.path, nonce, CR_IO, "nobody has started the TPM up");
    swtpm_stop(&cold);
}

static void what_a_tpm_refuses(void **state)
{
    (void)state;
    static const struct {
        const char *answer; // tag, size, code
        enum cr_status status;
        const char *sentence;
    } cases[] = {
        {"80010000000a00000921", CR_DENIED, "locked out after too many wrong passwords"},
        {"80010000000a00000922", CR_IO, "the TPM is busy (try again)"},
        {"80010000000a0000090a", CR_IO, "busy testing itself"},
        {"80010000000a00000902", CR_IO, "no room left: other programs left keys in it"},
        {"80010000000a000b0902", CR_IO, "no room left: other programs left keys in it"}, // by the kernel
        {"80010000000a000009a2", CR_DENIED, "wants a password"},
        {"80010000000a00000185", CR_IO, "hierarchy of keys that it takes is switched off"},
        {"80010000000a000001a6", CR_UNSUPPORTED, "no keys of the curve P-256"},
        {"80010000000a00000101", CR_IO, "has failed its own tests"},
        {"80010000000a00000143", CR_UNSUPPORTED, "does not know the command"},
        {"80010000000a0000012f", CR_IO, "no key can be made: the TPM or tpm2-tss answers 0x12f"},
        {"80010000000a00000000", CR_IO, "no key can be made: the TPM or tpm2-tss answers 0x"}, // no key in it
        {"80010000000900000000", CR_IO, "bytes behind the TPM's answer"},
        {"80010000000a0000000000", CR_IO, "bytes behind the TPM's answer"},
        {"8001ffffffff00000000", CR_IO, "the TPM's answer is cut off"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        unsigned char answer[16];
        struct false_tpm tpm;
        size_t size = strlen(cases[i].answer) / 2;
        assert_ok(cr_hex_decode(cases[i].answer, answer, size));
        false_tpm_start(&tpm, (struct cr_slice){answer, size});
        assert_attest_fails(tpm.path, nonce, cases[i].status, cases[i].sentence);
        false_tpm_stop(&tpm);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(quotes_are_appraised),
        cmocka_unit_test(the_key_is_the_machines),
        cmocka_unit_test(nothing_is_left_in_the_tpm),
        cmocka_unit_test(a_secret_opens_where_the_same_was_booted),
        cmocka_unit_test(a_secret_is_its_tpms),
        cmocka_unit_test(a_sealing_key_is_kept),
        cmocka_unit_test(where_there_is_no_tpm),
        cmocka_unit_test(what_a_tpm_refuses),
    };
    return cmocka_run_group_tests(tests, make_directory, remove_tpms);
}
