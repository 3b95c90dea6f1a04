// Evidence as files bring it: raw, as hexadecimal or base64, within JSON or CBOR (a conceptual message
// wrapper among them), or in an extension of a certificate (RA-TLS).
#ifndef CARREL_ATTESTATION_EVIDENCE_H
#define CARREL_ATTESTATION_EVIDENCE_H

#include "base/bytes.h"

enum cr_evidence_type {
    CR_EVIDENCE_SGX,
    CR_EVIDENCE_TDX,
    CR_EVIDENCE_SNP,
    CR_EVIDENCE_TPM,
    CR_EVIDENCE_CERTIFICATE, // for a key that signs evidence
    CR_EVIDENCE_DEVELOPMENT, // of a software key: proves nothing
    CR_EVIDENCE_TYPES
};

// "sgx", "tdx", "snp", "tpm", "certificate", "development".
const char *cr_evidence_type_name(enum cr_evidence_type type);
bool cr_evidence_type_parse(const char *name, enum cr_evidence_type *out);

// Zero-initialise it; release it.
struct cr_evidence {
    enum cr_evidence_type type;
    struct cr_buffer bytes;       // raw; of a TPM's quote the JSON that cr_appraise_tpm wants
    struct cr_buffer certificate; // DER of the certificate that carries it, where one does (RA-TLS)
    struct cr_buffer claims;      // CBOR that lies beside it, of which it signs the hash, where there is one
};

void cr_evidence_release(struct cr_evidence *evidence);

// Report data with zeros behind. CR_INVALID where they are more.
enum { CR_REPORT_DATA_SIZE = 64 };
enum cr_status cr_evidence_pad(struct cr_slice report_data, unsigned char out[CR_REPORT_DATA_SIZE]);

// What the evidence is bound to; where that is less (a TPM's quote), zeros behind. CR_INVALID or
// CR_UNSUPPORTED where it cannot be read, and where its type has none.
enum cr_status cr_evidence_report_data(const struct cr_evidence *evidence,
                                       unsigned char out[CR_REPORT_DATA_SIZE]);

// Finds the evidence in a file's bytes; of type *wanted alone where it is not NULL. In JSON it is looked for
// in all strings and lists of bytes. Bytes that look like nothing known are taken for raw evidence of a type
// that is wanted. CR_INVALID where there is none, or different ones.
enum cr_status cr_evidence_find(struct cr_slice file, const enum cr_evidence_type *wanted,
                                struct cr_evidence *out);

#endif
