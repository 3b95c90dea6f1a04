#include "attestation/report.h"

#include <inttypes.h>

enum {
    OLDEST = 2,
    NEWEST = 5,
    ECDSA_P384_SHA384 = 1,
    POLICY_RESERVED_ONE = 1 << 17,
    LIKELY_VERSIONS = 100,
    RECOGNIZED_SIZE = 0x38, // up to the signature's algorithm
    NUMBER_SIZE = 72,       // of r and s in the report, little-endian
    NUMBER_USED = 48,
};

struct cr_snp_tcb cr_snp_tcb_of(uint64_t word, bool is_turin)
{
    uint8_t bytes[8];
    for (size_t i = 0; i < sizeof bytes; i++) bytes[i] = (uint8_t)(word >> (8 * i));
    if (is_turin) return (struct cr_snp_tcb){bytes[0], bytes[1], bytes[2], bytes[3], bytes[7]};
    return (struct cr_snp_tcb){0, bytes[0], bytes[1], bytes[6], bytes[7]};
}

bool cr_snp_report_is_one(struct cr_slice bytes)
{
    if (bytes.size < RECOGNIZED_SIZE) return false;
    struct cr_cursor cursor = cr_cursor_over(bytes);
    uint32_t version = cr_read_u32(&cursor);
    cr_read_u32(&cursor);
    uint64_t policy = cr_read_u64(&cursor);
    cr_read_slice(&cursor, 36); // ids and VMPL
    uint32_t algorithm = cr_read_u32(&cursor);
    return version > 0 && version < LIKELY_VERSIONS && policy & POLICY_RESERVED_ONE && policy >> 32 == 0 &&
           algorithm == ECDSA_P384_SHA384;
}

// Reads r or s; false if it is longer than the curve's numbers.
static bool read_number(struct cr_cursor *cursor, unsigned char out[NUMBER_USED])
{
    struct cr_slice number = cr_read_slice(cursor, NUMBER_SIZE);
    if (number.size == 0) return false;
    for (size_t i = 0; i < NUMBER_USED; i++) out[i] = number.data[NUMBER_USED - 1 - i];
    return cr_slice_is_zero((struct cr_slice){number.data + NUMBER_USED, NUMBER_SIZE - NUMBER_USED});
}

static void read_versions(struct cr_cursor *cursor, uint8_t out[3])
{
    out[2] = cr_read_u8(cursor);
    out[1] = cr_read_u8(cursor);
    out[0] = cr_read_u8(cursor);
    cr_read_u8(cursor);
}

static void read_signed_part(struct cr_cursor *cursor, struct cr_snp_report *report)
{
    cr_read_u32(cursor); // the version, read before
    report->guest_svn = cr_read_u32(cursor);
    report->policy = cr_read_u64(cursor);
    report->family_id = cr_read_slice(cursor, 16);
    report->image_id = cr_read_slice(cursor, 16);
    report->vmpl = cr_read_u32(cursor);
    cr_read_u32(cursor); // the algorithm, read before
    report->current_tcb = cr_read_u64(cursor);
    report->platform_info = cr_read_u64(cursor);
    uint32_t flags = cr_read_u32(cursor);
    report->author_key = flags & 1;
    report->chip_masked = flags >> 1 & 1;
    report->signing_key = (uint8_t)(flags >> 2 & 7);
    cr_read_u32(cursor);
    report->report_data = cr_read_slice(cursor, 64);
    report->measurement = cr_read_slice(cursor, 48);
    report->host_data = cr_read_slice(cursor, 32);
    report->id_key_digest = cr_read_slice(cursor, 48);
    report->author_key_digest = cr_read_slice(cursor, 48);
    report->report_id = cr_read_slice(cursor, 32);
    report->report_id_ma = cr_read_slice(cursor, 32);
    report->reported_tcb = cr_read_u64(cursor);
    report->cpuid_family = cr_read_u8(cursor);
    report->cpuid_model = cr_read_u8(cursor);
    report->cpuid_stepping = cr_read_u8(cursor);
    cr_read_slice(cursor, 21);
    report->chip_id = cr_read_slice(cursor, CR_SNP_CHIP_ID_SIZE);
    report->committed_tcb = cr_read_u64(cursor);
    read_versions(cursor, report->current);
    read_versions(cursor, report->committed);
    report->launch_tcb = cr_read_u64(cursor);
    report->launch_mitigations = cr_read_u64(cursor);
    report->current_mitigations = cr_read_u64(cursor);
}

enum cr_status cr_snp_report_parse(struct cr_slice bytes, struct cr_snp_report *out)
{
    if (bytes.size < CR_SNP_REPORT_SIZE)
        return cr_fail(CR_INVALID, "SNP report: %zu bytes where it has %d", bytes.size, CR_SNP_REPORT_SIZE);
    struct cr_snp_report report = {.signed_part = {bytes.data, CR_SNP_SIGNED_SIZE},
                                   .trailing = bytes.size - CR_SNP_REPORT_SIZE};
    struct cr_cursor cursor = cr_cursor_over(report.signed_part);
    report.version = cr_read_u32(&cursor);
    cr_read_slice(&cursor, 0x30);
    uint32_t algorithm = cr_read_u32(&cursor);
    if (report.version < OLDEST || report.version > NEWEST)
        return cr_fail(CR_UNSUPPORTED, "SNP report: of version %" PRIu32 " (%d to %d are known)",
                       report.version, OLDEST, NEWEST);
    if (algorithm != ECDSA_P384_SHA384)
        return cr_fail(CR_UNSUPPORTED,
                       "SNP report: signed by algorithm %" PRIu32 " (1, ECDSA P-384, is known)", algorithm);
    cursor = cr_cursor_over(report.signed_part);
    read_signed_part(&cursor, &report);
    report.has_cpuid = report.version >= 3;
    report.has_mitigations = report.version >= 5;
    cursor = cr_cursor_over(
        (struct cr_slice){bytes.data + CR_SNP_SIGNED_SIZE, CR_SNP_REPORT_SIZE - CR_SNP_SIGNED_SIZE});
    if (!read_number(&cursor, report.signature) || !read_number(&cursor, report.signature + NUMBER_USED))
        return cr_fail(CR_INVALID, "SNP report: a number of its signature is longer than P-384's");
    if (!cr_slice_is_zero(cr_read_slice(&cursor, cr_cursor_left(&cursor))))
        return cr_fail(CR_INVALID, "SNP report: bytes behind its signature that are not zero");
    *out = report;
    return CR_OK;
}
