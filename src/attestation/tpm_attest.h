// Evidence of a TPM: a quote of its PCRs, signed by a TPM key that can sign nothing but quotes.
#ifndef CARREL_ATTESTATION_TPM_ATTEST_H
#define CARREL_ATTESTATION_TPM_ATTEST_H

#include "attestation/evidence.h"

// Appends a quote of all PCRs of the SHA-256 bank, in the form that cr_appraise_tpm reads, with the key's
// public part (`public_key`, PEM). The key is a primary key of the endorsement hierarchy (ECDSA P-256,
// restricted). The TPM derives the same key each time, so a certificate for it stays valid.
//
// A quote is bound to only 32 bytes: CR_INVALID unless the last 32 of `report_data` are zeros. For `path` see
// cr_tpm_open. CR_UNSUPPORTED in a program built without tpm2-tss.
enum cr_status cr_tpm_attest(const char *path, const unsigned char report_data[CR_REPORT_DATA_SIZE],
                             enum cr_evidence_type *type, struct cr_buffer *out);

#endif
