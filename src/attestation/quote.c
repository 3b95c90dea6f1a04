#include "attestation/quote.h"

#include <inttypes.h>
#include <string.h>

enum {
    HEADER_SIZE = 48,
    VENDOR_AT = 12,
    SGX_REPORT_SIZE = 384,
    TD_REPORT_SIZE = 584,
    TD_REPORT_15_SIZE = 648,
    KEY_SIZE = 64,
    SIGNATURE_SIZE = 64,
    ECDSA_P256 = 2, // attestation key type
    TEE_SGX = 0,
    TEE_TDX = 0x81,
    BODY_SGX = 1, // in version 5, the type of the body
    BODY_TD = 2,
    BODY_TD_15 = 3,
    CERTIFIED_QE_REPORT = 6,
};

// 939a7233-f79c-4ca9-940a-0db3957f0607
static const unsigned char intel[16] = {0x93, 0x9a, 0x72, 0x33, 0xf7, 0x9c, 0x4c, 0xa9,
                                        0x94, 0x0a, 0x0d, 0xb3, 0x95, 0x7f, 0x06, 0x07};

bool cr_quote_is_one(struct cr_slice bytes)
{
    return bytes.size >= HEADER_SIZE && memcmp(bytes.data + VENDOR_AT, intel, sizeof intel) == 0;
}

static enum cr_status cut_short(const char *where)
{
    return cr_fail(CR_INVALID, "quote: it ends within %s", where);
}

static struct cr_sgx_report read_sgx_report(struct cr_cursor *cursor)
{
    struct cr_sgx_report report = {.whole = cr_read_slice(cursor, SGX_REPORT_SIZE)};
    struct cr_cursor in = cr_cursor_over(report.whole);
    report.cpu_svn = cr_read_slice(&in, 16);
    report.miscselect = cr_read_u32(&in);
    cr_read_slice(&in, 12);
    report.isv_ext_prod_id = cr_read_slice(&in, 16);
    report.attributes = cr_read_slice(&in, 16);
    report.mrenclave = cr_read_slice(&in, 32);
    cr_read_slice(&in, 32);
    report.mrsigner = cr_read_slice(&in, 32);
    cr_read_slice(&in, 32);
    report.config_id = cr_read_slice(&in, 64);
    report.isv_prod_id = cr_read_u16(&in);
    report.isv_svn = cr_read_u16(&in);
    report.config_svn = cr_read_u16(&in);
    cr_read_slice(&in, 42);
    report.isv_family_id = cr_read_slice(&in, 16);
    report.report_data = cr_read_slice(&in, 64);
    return report;
}

static struct cr_td_report read_td_report(struct cr_cursor *cursor, bool is_15)
{
    struct cr_td_report report = {0};
    report.tee_tcb_svn = cr_read_slice(cursor, 16);
    report.mrseam = cr_read_slice(cursor, 48);
    report.mrsignerseam = cr_read_slice(cursor, 48);
    report.seam_attributes = cr_read_slice(cursor, 8);
    report.td_attributes = cr_read_slice(cursor, 8);
    report.xfam = cr_read_slice(cursor, 8);
    report.mrtd = cr_read_slice(cursor, 48);
    report.mrconfigid = cr_read_slice(cursor, 48);
    report.mrowner = cr_read_slice(cursor, 48);
    report.mrownerconfig = cr_read_slice(cursor, 48);
    for (size_t i = 0; i < 4; i++) report.rtmr[i] = cr_read_slice(cursor, 48);
    report.report_data = cr_read_slice(cursor, 64);
    if (is_15) {
        report.tee_tcb_svn_2 = cr_read_slice(cursor, 16);
        report.mrservicetd = cr_read_slice(cursor, 48);
    }
    return report;
}

static enum cr_status read_header(struct cr_cursor *cursor, struct cr_quote *quote)
{
    quote->version = cr_read_u16(cursor);
    uint16_t key_type = cr_read_u16(cursor);
    uint32_t tee = cr_read_u32(cursor); // reserved, and zero, in version 3
    (void)cr_read_slice(cursor, 4);     // of versions 3 and 4: the security versions of the QE and the PCE
    struct cr_slice vendor = cr_read_slice(cursor, 16);
    quote->user_data = cr_read_slice(cursor, 20);
    if (cursor->failed) return cut_short("its header");
    if (quote->version < 3 || quote->version > 5)
        return cr_fail(CR_UNSUPPORTED, "quote: of version %u (3, 4 and 5 are known)", quote->version);
    if (memcmp(vendor.data, intel, sizeof intel) != 0)
        return cr_fail(CR_UNSUPPORTED, "quote: not by a quoting enclave of Intel's");
    if (key_type != ECDSA_P256)
        return cr_fail(CR_UNSUPPORTED, "quote: an attestation key of type %u (2, ECDSA P-256, is known)",
                       key_type);
    if (tee != TEE_SGX && (tee != TEE_TDX || quote->version == 3))
        return cr_fail(CR_INVALID, "quote: of TEE type 0x%" PRIx32 " in version %u", tee, quote->version);
    quote->is_td = tee == TEE_TDX;
    return CR_OK;
}

static enum cr_status read_body(struct cr_cursor *cursor, struct cr_quote *quote)
{
    uint16_t type = quote->is_td ? BODY_TD : BODY_SGX;
    if (quote->version >= 5) {
        static const uint32_t sizes[] = {
            [BODY_SGX] = SGX_REPORT_SIZE, [BODY_TD] = TD_REPORT_SIZE, [BODY_TD_15] = TD_REPORT_15_SIZE};
        type = cr_read_u16(cursor);
        uint32_t size = cr_read_u32(cursor);
        if (cursor->failed) return cut_short("the type of its body");
        if (type < BODY_SGX || type > BODY_TD_15 || (type == BODY_SGX) == quote->is_td)
            return cr_fail(CR_INVALID, "quote: a body of type %u, which its TEE has not", type);
        if (size != sizes[type])
            return cr_fail(CR_INVALID, "quote: a body of type %u with %" PRIu32 " bytes, not %" PRIu32, type,
                           size, sizes[type]);
    }
    if (quote->is_td)
        quote->td = read_td_report(cursor, type == BODY_TD_15);
    else
        quote->sgx = read_sgx_report(cursor);
    return cursor->failed ? cut_short("its body") : CR_OK;
}

// Reads the quoting enclave's report and its certification data.
static enum cr_status read_qe(struct cr_cursor *cursor, struct cr_quote *quote)
{
    quote->qe = read_sgx_report(cursor);
    if (cursor->failed) return cut_short("the QE's report");
    quote->qe_signature = cr_read_slice(cursor, SIGNATURE_SIZE);
    if (cursor->failed) return cut_short("the signature over the QE's report");
    quote->qe_auth = cr_read_slice(cursor, cr_read_u16(cursor));
    if (cursor->failed) return cut_short("the QE's authentication data");
    quote->certification = cr_read_u16(cursor);
    quote->certification_data = cr_read_slice(cursor, cr_read_u32(cursor));
    if (cursor->failed) return cut_short("its certification data");
    if (cr_cursor_left(cursor) > 0)
        return cr_fail(CR_INVALID, "quote: %zu bytes between its certification data and its end",
                       cr_cursor_left(cursor));
    if (quote->certification < CR_CERTIFIED_BY_ID_FIRST || quote->certification > CR_CERTIFIED_BY_CHAIN)
        return cr_fail(CR_UNSUPPORTED, "quote: certification data of type %u (1 to 5 are known)",
                       quote->certification);
    return CR_OK;
}

static enum cr_status read_signature_data(struct cr_slice bytes, struct cr_quote *quote)
{
    struct cr_cursor cursor = cr_cursor_over(bytes);
    quote->signature = cr_read_slice(&cursor, SIGNATURE_SIZE);
    quote->key = cr_read_slice(&cursor, KEY_SIZE);
    if (cursor.failed) return cut_short("its signature and key");
    if (quote->version == 3) return read_qe(&cursor, quote);
    uint16_t type = cr_read_u16(&cursor);
    uint32_t size = cr_read_u32(&cursor);
    if (cursor.failed) return cut_short("the type of its certification data");
    if (type != CERTIFIED_QE_REPORT)
        return cr_fail(CR_UNSUPPORTED,
                       "quote: certification data of type %u around the QE's report (6 is known)", type);
    if (size != cr_cursor_left(&cursor))
        return cr_fail(CR_INVALID, "quote: certification data of %" PRIu32 " bytes where %zu are left", size,
                       cr_cursor_left(&cursor));
    struct cr_cursor inner = cr_cursor_over(cr_read_slice(&cursor, size));
    return read_qe(&inner, quote);
}

enum cr_status cr_quote_parse(struct cr_slice bytes, struct cr_quote *out)
{
    struct cr_cursor cursor = cr_cursor_over(bytes);
    struct cr_quote quote = {0};
    CR_TRY(read_header(&cursor, &quote));
    CR_TRY(read_body(&cursor, &quote));
    quote.signed_part = (struct cr_slice){bytes.data, cursor.at};
    uint32_t size = cr_read_u32(&cursor);
    if (cursor.failed) return cut_short("the length of its signature data");
    if (size > cr_cursor_left(&cursor))
        return cr_fail(CR_INVALID, "quote: signature data of %" PRIu32 " bytes where %zu are left", size,
                       cr_cursor_left(&cursor));
    CR_TRY(read_signature_data(cr_read_slice(&cursor, size), &quote));
    quote.trailing = cr_cursor_left(&cursor);
    *out = quote;
    return CR_OK;
}
