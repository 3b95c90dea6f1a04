// Evidence of a confidential VM, TDX or SEV-SNP, from its kernel (configfs-tsm, Linux 6.7).
//
// Source: Linux, Documentation/ABI/testing/configfs-tsm-report.
#ifndef CARREL_ATTESTATION_TSM_H
#define CARREL_ATTESTATION_TSM_H

#include "attestation/evidence.h"

// Appends the kernel's answer for 64 bytes of report data, asked for in an entry of our own below `root`,
// which is removed whatever comes of it: a quote; or a report, and where the host gives certificates with it
// a JSON object of both. At a guest whose kernel may not speak for VMPL 0 the report is of the highest level
// that it may. CR_NOT_FOUND where the kernel has no such interface or no provider, CR_UNSUPPORTED where the
// provider is not known, CR_IO where the kernel gives none or others keep writing to the entry.
enum cr_status cr_tsm_attest(const char *root, const unsigned char report_data[CR_REPORT_DATA_SIZE],
                             enum cr_evidence_type *type, struct cr_buffer *out);

#endif
