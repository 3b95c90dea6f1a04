// Evidence of an SGX enclave under Gramine, from the files that Gramine provides.
//
// Source: Gramine, documentation on attestation (/dev/attestation).
#ifndef CARREL_ATTESTATION_GRAMINE_H
#define CARREL_ATTESTATION_GRAMINE_H

#include "attestation/evidence.h"

// Appends a DCAP quote for 64 bytes of report data. The files are shared by the process's threads: of two
// that ask at the same time, one may get the other's quote. CR_NOT_FOUND if a file is missing or Gramine's
// attestation is off, CR_UNSUPPORTED if it is not DCAP.
enum cr_status cr_gramine_attest(const char *root, const unsigned char report_data[CR_REPORT_DATA_SIZE],
                                 enum cr_evidence_type *type, struct cr_buffer *out);

#endif
