// The data that Azure's paravisor (HCL) keeps in its guests' vTPM: the hardware's report, and the runtime
// data to which it is bound, with the vTPM's attestation key.
#ifndef CARREL_ATTESTATION_HCL_H
#define CARREL_ATTESTATION_HCL_H

#include "base/bytes.h"

enum cr_hcl_kind { CR_HCL_SNP = 2, CR_HCL_TDX = 4 };

struct cr_hcl {
    enum cr_hcl_kind kind;
    struct cr_slice report;       // 1184 bytes; for a TD its TDREPORT, which is not a quote
    struct cr_slice runtime_data; // JSON; the report's data begins with its SHA-256
};

bool cr_hcl_is_one(struct cr_slice bytes);

// CR_INVALID if it is truncated, CR_UNSUPPORTED for other kinds and hashes. Nothing is verified.
enum cr_status cr_hcl_parse(struct cr_slice bytes, struct cr_hcl *out);

// CR_DENIED unless `report_data` (64 bytes) is the SHA-256 of the runtime data, padded with zeros.
enum cr_status cr_hcl_check(const struct cr_hcl *hcl, struct cr_slice report_data);

#endif
