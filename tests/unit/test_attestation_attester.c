// attestation/attester.h, with a kernel and a Gramine that are imitated.
#include "machine_support.h"

#include "attestation/appraise.h"
#include "attestation/snp_table.h"
#include "base/file.h"

static const unsigned char asked[CR_REPORT_DATA_SIZE] = {0xab, 1, 2, 3, [63] = 0xcd};

static void assert_tsm_fails(enum cr_status status, const char *sentence)
{
    enum cr_evidence_type type = CR_EVIDENCE_TYPES;
    struct cr_buffer out = {0};
    size_t before = entries_left();
    assert_fails(status, sentence, cr_attester_attest(CR_ATTESTER_TSM, &places, asked, &type, &out));
    assert_true(out.size == 0 && type == CR_EVIDENCE_TYPES);
    assert_int_equal(entries_left(), before);
    cr_buffer_release(&out);
}

// What the attester gives, as whoever gets it reads it.
static void get(enum cr_attester attester, enum cr_evidence_type type, struct cr_evidence *out,
                struct cr_endorsements *endorsements)
{
    enum cr_evidence_type told;
    unsigned char bound[CR_REPORT_DATA_SIZE];
    CR_CLEANUP(cr_buffer_release) struct cr_buffer bytes = {0};
    assert_ok(cr_attester_attest(attester, &places, asked, &told, &bytes));
    assert_int_equal(told, type);
    assert_ok(cr_evidence_find(cr_buffer_slice(&bytes), NULL, out));
    assert_int_equal(out->type, type);
    assert_ok(cr_evidence_report_data(out, bound));
    assert_memory_equal(bound, asked, sizeof bound);
    assert_ok(cr_endorsements_add(endorsements, cr_buffer_slice(&bytes)));
    assert_int_equal(entries_left(), 0);
}

static void assert_genuine(enum cr_attester attester, struct platform *platform)
{
    CR_CLEANUP(cr_evidence_release) struct cr_evidence evidence = {0};
    CR_CLEANUP(cr_endorsements_release)
    struct cr_endorsements *endorsements = platform_endorsements(platform);
    CR_CLEANUP(cr_buffer_release) struct cr_buffer lines = {0};
    struct cr_appraisal appraisal = {0};
    struct cr_appraisal_policy policy;
    char data[2 * sizeof asked + 1];
    get(attester, platform->is_td ? CR_EVIDENCE_TDX : CR_EVIDENCE_SGX, &evidence, endorsements);
    cr_hex_encode((struct cr_slice){asked, sizeof asked}, data);
    assert_ok(cr_append_format(&lines, "report_data: [\"%s\"]\nallow_unknown_program: true\n", data));
    trust(&platform->root, cr_buffer_text(&lines), &policy);
    const struct cr_grounds grounds = {.endorsements = endorsements, .policy = &policy, .time = NOW};
    assert_ok(cr_appraise(&evidence, &grounds, &appraisal));
    if (cr_appraisal_verdict(&appraisal) != CR_AFFIRMED) fail_msg("%s", cr_appraisal_reason(&appraisal));
    cr_appraisal_release(&appraisal);
    cr_appraisal_policy_release(&policy);
}

static void a_guest_of_tdx(void **state)
{
    (void)state;
    struct platform platform;
    platform_make(&platform, 4, true);
    become_tdx(&platform);
    assert_genuine(CR_ATTESTER_TSM, &platform);
    assert_int_equal(machine.writes, 1);
    assert_genuine(CR_ATTESTER_TSM, &platform); // the generation goes on counting
    platform_free(&platform);
}

static void a_guest_of_snp(void **state)
{
    (void)state;
    CR_CLEANUP(cr_endorsements_release) struct cr_endorsements *endorsements = NULL;
    assert_ok(cr_endorsements_new(&endorsements));
    static const char *const floors[] = {"0\n", "2\n"};
    for (size_t i = 0; i < 2; i++) {
        CR_CLEANUP(cr_evidence_release) struct cr_evidence evidence = {0};
        struct cr_slice none = {NULL, 0};
        become_snp();
        machine.floor = floors[i];
        machine.table = i == 0 ? NULL : &none;
        get(CR_ATTESTER_TSM, CR_EVIDENCE_SNP, &evidence, endorsements);
        assert_int_equal(evidence.bytes.size, REPORT_SIZE_SNP);
        assert_int_equal(machine.level[0], floors[i][0]);
    }
}

// One entry of a table, or its end where `size` is 0.
static void put_entry(struct cr_buffer *out, size_t offset, size_t size)
{
    unsigned char guid[16];
    memset(guid, size > 0 ? 0x63 : 0, sizeof guid);
    assert_ok(cr_append(out, guid, sizeof guid));
    assert_ok(cr_append_u32(out, (uint32_t)offset));
    assert_ok(cr_append_u32(out, (uint32_t)size));
}

static void certificates_come_along(void **state)
{
    (void)state;
    CR_CLEANUP(cr_endorsements_release) struct cr_endorsements *endorsements = NULL;
    CR_CLEANUP(cr_evidence_release) struct cr_evidence evidence = {0};
    CR_CLEANUP(cr_buffer_release) struct cr_buffer table = {0};
    unsigned char *der[2] = {NULL};
    int size[2];
    struct party root = signed_party("P-384", "ARK-Test", NULL, true, NOW - DAY, NOW + DAY);
    struct party key = signed_party("P-384", "SEV-VCEK", &root, false, NOW - DAY, NOW + DAY);
    size[0] = i2d_X509(key.certificate, &der[0]);
    size[1] = i2d_X509(root.certificate, &der[1]);
    put_entry(&table, 72, (size_t)size[0]);
    put_entry(&table, 72 + (size_t)size[0], (size_t)size[1]);
    put_entry(&table, 0, 0);
    for (size_t i = 0; i < 2; i++) assert_ok(cr_append(&table, der[i], (size_t)size[i]));
    struct cr_slice bytes = cr_buffer_slice(&table);
    assert_ok(cr_endorsements_new(&endorsements));
    become_snp();
    machine.table = &bytes;
    get(CR_ATTESTER_TSM, CR_EVIDENCE_SNP, &evidence, endorsements);
    assert_int_equal(cr_x509_pool_count(endorsements->pool), 2);
    // Everywhere that it may be cut off within its entries.
    for (bytes.size = 1; bytes.size < 72; bytes.size++) assert_tsm_fails(CR_INVALID, "table of certificates");
    bytes.size = table.size - 1;
    assert_tsm_fails(CR_INVALID, "table of certificates: entry 1 is not within its");
    for (size_t i = 0; i < 2; i++) OPENSSL_free(der[i]);
    party_free(&root);
    party_free(&key);
}

static void tables_are_bounded(void **state)
{
    (void)state;
    struct cr_slice certificates[CR_SNP_TABLE_MOST];
    size_t count;
    CR_CLEANUP(cr_buffer_release) struct cr_buffer table = {0};
    for (size_t i = 0; i < CR_SNP_TABLE_MOST; i++) put_entry(&table, i, 1 + i);
    put_entry(&table, 0, 0);
    assert_ok(cr_snp_table_parse(cr_buffer_slice(&table), certificates, &count));
    assert_int_equal(count, CR_SNP_TABLE_MOST);
    assert_ptr_equal(certificates[3].data, table.data + 3);
    assert_int_equal(certificates[3].size, 4);
    table.size -= 24;
    put_entry(&table, 0, 1);
    put_entry(&table, 0, 0);
    assert_fails(CR_INVALID, "more than 16 entries",
                 cr_snp_table_parse(cr_buffer_slice(&table), certificates, &count));
    table.size = 0;
    put_entry(&table, UINT32_MAX, UINT32_MAX);
    put_entry(&table, 0, 0);
    assert_fails(CR_INVALID, "entry 0 is not within its 48 bytes",
                 cr_snp_table_parse(cr_buffer_slice(&table), certificates, &count));
}

// Somebody's genuine report, with the certificate of its chip from the host.
static void a_genuine_report_needs_no_more_than_the_root(void **state)
{
    (void)state;
    char path[512];
    struct cr_evidence genuine = {.type = CR_EVIDENCE_SNP};
    CR_CLEANUP(cr_evidence_release) struct cr_evidence evidence = {0};
    CR_CLEANUP(cr_endorsements_release) struct cr_endorsements *endorsements = NULL;
    CR_CLEANUP(cr_buffer_release) struct cr_buffer vcek = {0}, table = {0}, bytes = {0};
    struct cr_appraisal appraisal = {0};
    struct cr_appraisal_policy policy;
    enum cr_evidence_type type;
    unsigned char data[CR_REPORT_DATA_SIZE];
    const char *shared = shared_data();
    snprintf(path, sizeof path, "%s/attestation/snp/trustee_report.bin", shared);
    assert_ok(cr_file_read(path, 1 << 16, &genuine.bytes));
    snprintf(path, sizeof path, "%s/attestation/snp/trustee_vcek.der", shared);
    assert_ok(cr_file_read(path, 1 << 16, &vcek));
    put_entry(&table, 48, vcek.size);
    put_entry(&table, 0, 0);
    assert_ok(cr_append(&table, vcek.data, vcek.size));
    struct cr_slice certificates = cr_buffer_slice(&table);
    become_snp();
    machine.report = cr_buffer_slice(&genuine.bytes);
    machine.table = &certificates;
    assert_ok(cr_evidence_report_data(&genuine, data));
    assert_ok(cr_attester_attest(CR_ATTESTER_TSM, &places, data, &type, &bytes));
    assert_ok(cr_evidence_find(cr_buffer_slice(&bytes), NULL, &evidence));
    assert_ok(cr_endorsements_new(&endorsements));
    assert_ok(cr_endorsements_add(endorsements, cr_buffer_slice(&bytes)));
    snprintf(path, sizeof path, "%s/attestation/amd-roots/ask_ark_milan.pem", shared);
    assert_ok(cr_endorsements_read(endorsements, path));
    assert_ok(cr_appraisal_policy_default(&policy));
    const struct cr_grounds grounds = {.endorsements = endorsements, .policy = &policy, .time = NOW};
    assert_ok(cr_appraise(&evidence, &grounds, &appraisal));
    assert_true(appraisal.signature_valid);
    cr_appraisal_release(&appraisal);
    cr_appraisal_policy_release(&policy);
    cr_evidence_release(&genuine);
}

static void others_may_write_to_the_entry(void **state)
{
    (void)state;
    CR_CLEANUP(cr_evidence_release) struct cr_evidence evidence = {0};
    CR_CLEANUP(cr_endorsements_release) struct cr_endorsements *endorsements = NULL;
    assert_ok(cr_endorsements_new(&endorsements));
    become_snp();
    machine.disturbances = 1;
    get(CR_ATTESTER_TSM, CR_EVIDENCE_SNP, &evidence, endorsements);
    assert_int_equal(machine.writes, 4); // level and report data, twice
    machine.disturbances = SIZE_MAX;
    machine.writes = 0;
    assert_tsm_fails(CR_IO,
                     "others wrote to it, or the kernel did not take what was written, 4 times in a row");
    assert_int_equal(machine.writes, 8);
    // What the kernel refused when the file was closed shows in the generation alone.
    become_snp();
    machine.deaf = true;
    assert_tsm_fails(CR_IO, "the kernel did not take what was written, 4 times in a row");
}

static void what_the_kernel_refuses(void **state)
{
    (void)state;
    static const struct {
        int mkdir_error, read_error;
        enum cr_status status;
        const char *sentence;
    } cases[] = {
        {ENXIO, 0, CR_NOT_FOUND, "/tsm: no provider: this is no guest under TDX or SEV-SNP"},
        {EACCES, 0, CR_IO, "/tsm: no entry can be made, which takes root: Permission denied"},
        {EBUSY, 0, CR_IO, "/tsm: no entry can be made: Device or resource busy"},
        {EEXIST, 0, CR_IO, "/tsm: no entry can be made: File exists"},
        {0, EBUSY, CR_IO, "/outblob: busy: an earlier request has not been answered yet"},
        {0, EIO, CR_IO, "/outblob: Input/output error"},
        {0, ENXIO, CR_IO, "/outblob: No such device or address"}, // the provider has gone
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        become_snp();
        machine.mkdir_error = cases[i].mkdir_error;
        machine.read_error = cases[i].read_error;
        assert_tsm_fails(cases[i].status, cases[i].sentence);
    }
    // The level is above this guest's; the provider takes no more requests.
    static const struct {
        const char *file;
        int error;
        const char *sentence;
    } writes[] = {{"privlevel", EINVAL, "/privlevel: cannot be written: Invalid argument"},
                  {"inblob", EBUSY, "/inblob: cannot be written: Device or resource busy"},
                  {"inblob", ENXIO, "/inblob: cannot be written: No such device or address"}};
    for (size_t i = 0; i < sizeof writes / sizeof *writes; i++) {
        become_snp();
        machine.refused = writes[i].file;
        machine.write_error = writes[i].error;
        assert_tsm_fails(CR_IO, writes[i].sentence);
    }
    become_snp();
    const struct cr_attester_places nowhere = {.gramine = gramine, .tsm = "/nonexistent/tsm/report"};
    enum cr_evidence_type type;
    struct cr_buffer out = {0};
    assert_fails(CR_NOT_FOUND, "/nonexistent/tsm/report: not there: the kernel has no configfs-tsm",
                 cr_attester_attest(CR_ATTESTER_TSM, &nowhere, asked, &type, &out));
}

static void what_is_no_answer(void **state)
{
    (void)state;
    become_snp();
    machine.provider = "arm_cca_guest\n";
    assert_tsm_fails(CR_UNSUPPORTED, "/provider: \"arm_cca_guest\" is not known (tdx_guest, sev_guest)");
    machine.provider = "";
    assert_tsm_fails(CR_UNSUPPORTED, "/provider: \"\" is not known");
    become_snp();
    for (machine.report.size = 0; machine.report.size < REPORT_SIZE_SNP; machine.report.size += 37)
        assert_tsm_fails(CR_INVALID, "what the attester tsm was given is of no use: ");
    become_snp();
    machine.provider = "tdx_guest\n"; // with an SNP report
    assert_tsm_fails(CR_UNSUPPORTED, "what the attester tsm was given is of no use: ");
    become_snp();
    machine.stubborn = true;
    assert_tsm_fails(CR_IO, "it is bound to other report data than were asked for");
    become_snp();
    machine.floor = "a line that is longer than any level is\n";
    assert_tsm_fails(CR_IO, "/privlevel_floor: longer than expected");
}

static void entries_of_others_stay(void **state)
{
    (void)state;
    char left[128];
    enum cr_evidence_type type;
    CR_CLEANUP(cr_buffer_release) struct cr_buffer out = {0};
    become_snp();
    snprintf(left, sizeof left, "%s/carrel-0011223344556677", tsm);
    assert_int_equal(mkdir(left, 0700), 0);
    assert_ok(cr_attester_attest(CR_ATTESTER_TSM, &places, asked, &type, &out));
    assert_int_equal(machine.entries, 2);
    assert_int_equal(entries_left(), 1);
    assert_int_equal(rmdir(left), 0);
}

static void an_enclave_of_gramine(void **state)
{
    (void)state;
    enum cr_evidence_type type = CR_EVIDENCE_TYPES;
    CR_CLEANUP(cr_buffer_release) struct cr_buffer out = {0};
    struct platform platform;
    platform_make(&platform, 3, false);
    memset(&machine, 0, sizeof machine);
    machine.intel = &platform;
    static const struct {
        const char *type;
        enum cr_status status;
        const char *sentence;
    } cases[] = {
        {NULL, CR_NOT_FOUND, "/attestation_type: not there: this program does not run in Gramine with SGX"},
        {"none", CR_NOT_FOUND, "/attestation_type: \"none\": the manifest lacks sgx.remote_attestation"},
        {"epid\n", CR_UNSUPPORTED, "/attestation_type: \"epid\" is not known (dcap)"},
        {"dcap", CR_NOT_FOUND, "/user_report_data: No such file"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        if (cases[i].type) put_text(gramine, "attestation_type", cases[i].type);
        assert_fails(cases[i].status, cases[i].sentence,
                     cr_attester_attest(CR_ATTESTER_GRAMINE, &places, asked, &type, &out));
    }
    put_text(gramine, "user_report_data", "");
    assert_genuine(CR_ATTESTER_GRAMINE, &platform);
    put_text(gramine, "attestation_type", "dcap\n");
    assert_genuine(CR_ATTESTER_GRAMINE, &platform);
    machine.refused = "user_report_data";
    machine.write_error = EINVAL;
    assert_fails(CR_IO, "/user_report_data: cannot be written: Invalid argument",
                 cr_attester_attest(CR_ATTESTER_GRAMINE, &places, asked, &type, &out));
    machine.write_error = 0;
    machine.read_error = EIO; // the quoting enclave does not answer
    assert_fails(CR_IO, "/quote: Input/output error",
                 cr_attester_attest(CR_ATTESTER_GRAMINE, &places, asked, &type, &out));
    machine.read_error = 0;
    memset(platform.report + QUOTE_DATA_SGX, 0, CR_REPORT_DATA_SIZE);
    machine.stubborn = true; // another thread asked in between
    assert_fails(CR_IO, "it is bound to other report data than were asked for",
                 cr_attester_attest(CR_ATTESTER_GRAMINE, &places, asked, &type, &out));
    assert_true(out.size == 0 && type == CR_EVIDENCE_TYPES);
    platform_free(&platform);
}

static void the_first_that_is_there(void **state)
{
    (void)state;
    enum cr_attester attester = CR_ATTESTERS;
    const struct cr_attester_places none = {"/nonexistent/gramine", "/nonexistent/tsm", "/nonexistent/tpm"};
    const struct cr_attester_places guest = {"/nonexistent/gramine", tsm, "/nonexistent/tpm"};
    assert_fails(CR_NOT_FOUND, "no TEE to be seen here: there is neither /nonexistent/gramine",
                 cr_attester_choose("auto", &none, &attester));
    assert_fails(CR_INVALID, "\"sev\" is not known (auto, gramine",
                 cr_attester_choose("sev", &places, &attester));
    assert_int_equal(attester, CR_ATTESTERS);
    assert_ok(cr_attester_choose("auto", &places, &attester));
    assert_int_equal(attester, CR_ATTESTER_GRAMINE);
    assert_ok(cr_attester_choose("auto", &guest, &attester));
    assert_int_equal(attester, CR_ATTESTER_TSM);
    for (enum cr_attester i = 0; i < CR_ATTESTERS; i++) {
        assert_ok(cr_attester_choose(cr_attester_name(i), &none, &attester)); // named, it is not looked for
        assert_int_equal(attester, i);
    }
    CR_CLEANUP(cr_evidence_release) struct cr_evidence evidence = {0};
    CR_CLEANUP(cr_endorsements_release) struct cr_endorsements *endorsements = NULL;
    assert_ok(cr_endorsements_new(&endorsements));
    get(CR_ATTESTER_DEVELOPMENT, CR_EVIDENCE_DEVELOPMENT, &evidence, endorsements);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_guest_of_tdx),
        cmocka_unit_test(a_guest_of_snp),
        cmocka_unit_test(certificates_come_along),
        cmocka_unit_test(tables_are_bounded),
        cmocka_unit_test(a_genuine_report_needs_no_more_than_the_root),
        cmocka_unit_test(others_may_write_to_the_entry),
        cmocka_unit_test(what_the_kernel_refuses),
        cmocka_unit_test(what_is_no_answer),
        cmocka_unit_test(entries_of_others_stay),
        cmocka_unit_test(an_enclave_of_gramine),
        cmocka_unit_test(the_first_that_is_there),
    };
    return cmocka_run_group_tests(tests, make_places, remove_directory);
}
