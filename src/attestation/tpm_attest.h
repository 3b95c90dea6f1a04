// Evidence of a TPM: a quote of its PCRs by a key that the TPM makes for signing quotes and nothing else.
#ifndef CARREL_ATTESTATION_TPM_ATTEST_H
#define CARREL_ATTESTATION_TPM_ATTEST_H

#include "attestation/evidence.h"

// Appends a quote of all PCRs of the SHA-256 bank, as cr_appraise_tpm reads it, with the key's public part
// beside it (`public_key`, PEM). The key is a primary one of the endorsement hierarchy (ECDSA P-256,
// restricted), the same each time: a certificate that was once made for it stays good.
//
// A quote is bound to 32 bytes: the last 32 of `report_data` are zeros, or it is CR_INVALID. `path` is
// cr_tpm_open's. CR_UNSUPPORTED in a program that was built without tpm2-tss.
enum cr_status cr_tpm_attest(const char *path, const unsigned char report_data[CR_REPORT_DATA_SIZE],
                             enum cr_evidence_type *type, struct cr_buffer *out);

#endif
