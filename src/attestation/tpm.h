// Parses what a TPM 2.0 signs when it quotes its PCRs, TPMS_ATTEST, and the signature.
//
// Source: TCG, "TPM 2.0 Library", part 2, sections 10.12 and 11.3.
#ifndef CARREL_ATTESTATION_TPM_H
#define CARREL_ATTESTATION_TPM_H

#include "base/bytes.h"

enum { CR_TPM_PCRS = 24 };

enum cr_tpm_hash { CR_TPM_SHA1 = 0x0004, CR_TPM_SHA256 = 0x000b, CR_TPM_SHA384 = 0x000c };

// Slices point into the message's bytes.
struct cr_tpm_quote {
    struct cr_slice extra_data; // the challenge
    uint64_t clock, firmware_version;
    uint32_t reset_count, restart_count;
    bool safe;              // the clock never went back
    enum cr_tpm_hash bank;  // of the PCRs
    uint32_t selected;      // bit n: PCR n
    struct cr_slice digest; // 32 bytes: SHA-256 over the selected PCRs
};

bool cr_tpm_quote_is_one(struct cr_slice message);

// CR_INVALID if it is malformed, CR_UNSUPPORTED for PCRs of several banks, other banks, and PCRs above 23.
enum cr_status cr_tpm_quote_parse(struct cr_slice message, struct cr_tpm_quote *out);

size_t cr_tpm_hash_size(enum cr_tpm_hash hash);

// Appends the numbers of a signature if it is a TPMT_SIGNATURE (RSASSA or ECDSA, with SHA-256); else the
// bytes themselves.
enum cr_status cr_tpm_signature_bytes(struct cr_slice signature, struct cr_buffer *out);

#endif
