// attestation/event_log.h: logs made here, and one that a TD's firmware left with another program's reading
// of it.
#include "appraisal_support.h"
#include "event_log_support.h"
#include "intel_support.h"

#include "attestation/appraise.h"
#include "attestation/event_log.h"
#include "base/file.h"
#include "format/json.h"

enum { LOG_LIMIT = 1 << 20 };

static void put_log(struct cr_buffer *out)
{
    put_log_header(out);
    put_event(out, 0, 3, 0, "StartupLocality\0\x03", 17);
    put_event(out, 0, 8, 0x11, "version", 7);
    put_event(out, 1, 1, 0x22, "", 0);
    put_event(out, 2, 3, 0x33, "no action", 9);
    put_event(out, 1, 1, 0x44, "x", 1);
    assert_ok(cr_append(out, "\xff\xff\xff\xff\xff\xff", 6));
}

static void test_logs_are_replayed(void **state)
{
    (void)state;
    static const enum cr_tpm_hash banks[] = {CR_TPM_SHA256, CR_TPM_SHA384};
    CR_CLEANUP(cr_buffer_release) struct cr_buffer log = {0};
    put_log(&log);
    for (size_t i = 0; i < 2; i++) {
        struct cr_event_replay replay;
        size_t size = cr_tpm_hash_size(banks[i]);
        unsigned char zero[48] = {0}, one[48] = {0}, digest[48];
        zero[size - 1] = 3;
        memset(digest, 0x11, sizeof digest);
        extend(zero, digest, size);
        memset(digest, 0x22, sizeof digest);
        extend(one, digest, size);
        memset(digest, 0x44, sizeof digest);
        extend(one, digest, size);
        assert_ok(cr_event_log_replay(cr_buffer_slice(&log), banks[i], &replay));
        assert_int_equal(replay.events, 5);
        assert_true(replay.extended[0] && replay.extended[1] && !replay.extended[2]);
        assert_memory_equal(replay.values[0], zero, size);
        assert_memory_equal(replay.values[1], one, size);
    }
}

static void test_logs_that_are_malformed(void **state)
{
    (void)state;
    CR_CLEANUP(cr_buffer_release) struct cr_buffer log = {0}, high = {0}, header = {0};
    struct cr_event_replay replay;
    put_log_header(&header);
    put_log(&log);
    assert_fails(CR_UNSUPPORTED, "SHA-256 and SHA-384",
                 cr_event_log_replay(cr_buffer_slice(&log), CR_TPM_SHA1, &replay));
    size_t whole = 0;
    for (size_t size = 0; size < log.size - 6; size++) {
        enum cr_status status =
            cr_event_log_replay((struct cr_slice){log.data, size}, CR_TPM_SHA384, &replay);
        if (status == CR_OK) whole++; // cut between two events
        assert_true(status == CR_OK || status == CR_INVALID);
    }
    assert_int_equal(whole, 5);
    put_log_header(&high);
    put_event(&high, 24, 1, 1, "", 0);
    assert_fails(CR_INVALID, "above 23", cr_event_log_replay(cr_buffer_slice(&high), CR_TPM_SHA384, &replay));
    log.data[header.size + 12] = 4; // the first event's first digest is of a bank that the log does not have
    assert_fails(CR_INVALID, "a bank that the log does not have",
                 cr_event_log_replay(cr_buffer_slice(&log), CR_TPM_SHA384, &replay));
    log.data[header.size + 8] = 3;
    assert_fails(CR_INVALID, "more digests than there are banks",
                 cr_event_log_replay(cr_buffer_slice(&log), CR_TPM_SHA384, &replay));
    log.data[40] ^= 1;
    assert_fails(CR_INVALID, "does not begin",
                 cr_event_log_replay(cr_buffer_slice(&log), CR_TPM_SHA384, &replay));
}

// Beside a TD's quote: RTMR 0 is register 1 of the log.
static void test_logs_beside_quotes(void **state)
{
    (void)state;
    CR_CLEANUP(cr_buffer_release) struct cr_buffer log = {0};
    put_log(&log);
    for (int which = 0; which < 3; which++) {
        struct platform p;
        CR_CLEANUP(cr_buffer_release) struct cr_buffer quote = {0};
        CR_CLEANUP(cr_endorsements_release) struct cr_endorsements *endorsements = NULL;
        CR_CLEANUP(cr_appraisal_release) struct cr_appraisal a = {0};
        struct cr_appraisal_policy policy;
        struct cr_event_replay replay;
        platform_make(&p, which == 2 ? 3 : 4, which != 2);
        assert_ok(cr_event_log_replay(cr_buffer_slice(&log), CR_TPM_SHA384, &replay));
        if (which != 2) memcpy(p.report + 328, replay.values[1], 48);
        if (which == 1) p.report[328] ^= 1;
        platform_quote(&p, &quote);
        endorsements = platform_endorsements(&p);
        trust(&p.root, "allow_unknown_program: true\n", &policy);
        const struct cr_grounds grounds = {
            .endorsements = endorsements, .policy = &policy, .time = NOW, .event_log = cr_buffer_slice(&log)};
        const struct cr_evidence evidence = {.type = which == 2 ? CR_EVIDENCE_SGX : CR_EVIDENCE_TDX,
                                             .bytes = quote};
        assert_ok(cr_appraise(&evidence, &grounds, &a));
        cr_appraisal_policy_release(&policy);
        if (which == 0) assert_int_equal(finding_of(&a, "event_log")->outcome, CR_PASSED);
        if (which == 0) assert_int_equal(cr_appraisal_verdict(&a), CR_AFFIRMED);
        if (which == 1) assert_only(&a, "event_log", CR_REFUSED, "another value of register 1");
        if (which == 2) assert_only(&a, "event_log", CR_REFUSED, "goes with a TD or a TPM");
        platform_free(&p);
    }
}

// A log of a TD with 37 events, and the digests that another program read from it.
static void test_a_log_of_others(void **state)
{
    (void)state;
    const char *data = shared_data();
    CR_FREE char *path = NULL;
    CR_FREE char *told_path = NULL;
    CR_CLEANUP(cr_buffer_release) struct cr_buffer log = {0};
    CR_CLEANUP(cr_json_release) struct cr_json *told = NULL;
    struct cr_event_replay replay;
    unsigned char values[CR_EVENT_REGISTERS][48] = {{0}};
    assert_ok(cr_path_join(data, "attestation/ccel/CCEL_data_grub", &path));
    assert_ok(cr_path_join(data, "attestation/ccel/CCEL_data_grub_out.json", &told_path));
    assert_ok(cr_file_read(path, LOG_LIMIT, &log));
    assert_ok(cr_json_read(told_path, LOG_LIMIT, &told));
    assert_ok(cr_event_log_replay(cr_buffer_slice(&log), CR_TPM_SHA384, &replay));
    const struct cr_json *events = cr_json_member(told, "uefi_event_logs");
    assert_int_equal(replay.events, cr_json_count(events));
    for (size_t i = 0; i < cr_json_count(events); i++) {
        const struct cr_json *event = cr_json_at(events, i);
        unsigned char digest[48];
        size_t number;
        assert_ok(cr_json_require_size(event, "event", "index", 0, 23, &number));
        assert_ok(
            cr_json_get_hex(cr_json_at(cr_json_member(event, "digests"), 0), "event", "digest", digest, 48));
        if (!cr_json_is_string(cr_json_member(event, "type_name"), "EV_NO_ACTION"))
            extend(values[number], digest, 48);
    }
    for (size_t i = 0; i < CR_EVENT_REGISTERS; i++) assert_memory_equal(replay.values[i], values[i], 48);
    assert_true(replay.extended[1] && replay.extended[2] && replay.extended[3]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_logs_are_replayed),
        cmocka_unit_test(test_logs_that_are_malformed),
        cmocka_unit_test(test_logs_beside_quotes),
        cmocka_unit_test(test_a_log_of_others),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
