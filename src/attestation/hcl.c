#include "attestation/hcl.h"
#include "attestation/evidence.h"
#include "crypto/hash.h"

#include <inttypes.h>
#include <string.h>

enum { HEADER_SIZE = 32, REPORT_SIZE = 1184, HASH_SHA256 = 1 };

static const char magic[] = "HCLA";

bool cr_hcl_is_one(struct cr_slice bytes)
{
    return bytes.size >= HEADER_SIZE && memcmp(bytes.data, magic, 4) == 0;
}

enum cr_status cr_hcl_parse(struct cr_slice bytes, struct cr_hcl *out)
{
    struct cr_cursor cursor = cr_cursor_over(bytes);
    struct cr_slice header = cr_read_slice(&cursor, HEADER_SIZE);
    if (!cr_hcl_is_one(header)) return cr_fail(CR_INVALID, "HCL report: it does not begin as one");
    struct cr_hcl hcl = {.report = cr_read_slice(&cursor, REPORT_SIZE)};
    cr_read_u32(&cursor); // size of the rest
    cr_read_u32(&cursor); // version
    uint32_t kind = cr_read_u32(&cursor), hash = cr_read_u32(&cursor);
    hcl.runtime_data = cr_read_slice(&cursor, cr_read_u32(&cursor));
    if (cursor.failed) return cr_fail(CR_INVALID, "HCL report: it ends within its data");
    if (kind != CR_HCL_SNP && kind != CR_HCL_TDX)
        return cr_fail(CR_UNSUPPORTED, "HCL report: of kind %" PRIu32 " (2, SNP, and 4, TDX, are known)",
                       kind);
    if (hash != HASH_SHA256)
        return cr_fail(CR_UNSUPPORTED, "HCL report: a hash of kind %" PRIu32 " (1, SHA-256, is known)", hash);
    hcl.kind = (enum cr_hcl_kind)kind;
    *out = hcl;
    return CR_OK;
}

enum cr_status cr_hcl_check(const struct cr_hcl *hcl, struct cr_slice report_data)
{
    unsigned char wanted[CR_REPORT_DATA_SIZE] = {0};
    CR_TRY(cr_sha256(hcl->runtime_data, wanted));
    if (report_data.size != sizeof wanted || memcmp(wanted, report_data.data, sizeof wanted) != 0)
        return cr_fail(CR_DENIED, "HCL report: the hardware's report is not bound to the runtime data");
    return CR_OK;
}
