// Evidence of a confidential VM, TDX or SEV-SNP, from its kernel (configfs-tsm, Linux 6.7).
//
// Source: Linux, Documentation/ABI/testing/configfs-tsm-report.
#ifndef CARREL_ATTESTATION_TSM_H
#define CARREL_ATTESTATION_TSM_H

#include "attestation/evidence.h"

// Appends the kernel's evidence for 64 bytes of report data, requested in a new entry below `root`, which is
// removed in any case. It is a quote; or a report, in a JSON object with certificates if the host provides
// them. If the guest's kernel may not request reports for VMPL 0, the report is for the most privileged level
// allowed. CR_NOT_FOUND if the kernel lacks the interface or a provider, CR_UNSUPPORTED for an unknown
// provider, CR_IO if the kernel gives no report or others keep writing to the entry.
enum cr_status cr_tsm_attest(const char *root, const unsigned char report_data[CR_REPORT_DATA_SIZE],
                             enum cr_evidence_type *type, struct cr_buffer *out);

#endif
