// Finds evidence in files: raw, as hexadecimal or base64, in JSON or CBOR (also as a conceptual message
// wrapper), or in an extension of a certificate (RA-TLS).
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

// Zero-initialise it; release it with cr_evidence_release.
struct cr_evidence {
    enum cr_evidence_type type;
    struct cr_buffer bytes;       // raw; for a TPM's quote the JSON that cr_appraise_tpm reads
    struct cr_buffer certificate; // DER of the certificate that contains it (RA-TLS), else empty
    struct cr_buffer claims;      // CBOR beside it, to whose hash it is bound, else empty
};

void cr_evidence_release(struct cr_evidence *evidence);

// Pads report data with zeros. CR_INVALID if they are longer.
enum { CR_REPORT_DATA_SIZE = 64 };
enum cr_status cr_evidence_pad(struct cr_slice report_data, unsigned char out[CR_REPORT_DATA_SIZE]);

// The report data to which the evidence is bound, padded with zeros if shorter (a TPM's quote). CR_INVALID or
// CR_UNSUPPORTED if they cannot be read, or if this type has none.
enum cr_status cr_evidence_report_data(const struct cr_evidence *evidence,
                                       unsigned char out[CR_REPORT_DATA_SIZE]);

// Finds the evidence in a file's bytes, only of type *wanted unless it is NULL. In JSON, all strings and
// lists of bytes are searched. Bytes in no known form are taken as raw evidence of the wanted type.
// CR_INVALID if there is none, or if there are several different ones.
enum cr_status cr_evidence_find(struct cr_slice file, const enum cr_evidence_type *wanted,
                                struct cr_evidence *out);

#endif
