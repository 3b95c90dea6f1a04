// Evidence of an SGX enclave that Gramine runs, from the files that Gramine shows to its program.
//
// Source: Gramine, documentation on attestation (/dev/attestation).
#ifndef CARREL_ATTESTATION_GRAMINE_H
#define CARREL_ATTESTATION_GRAMINE_H

#include "attestation/evidence.h"

// Appends a DCAP quote for 64 bytes of report data. The files are the whole process's: of two threads that
// ask at once, one may get the other's quote. CR_NOT_FOUND where a file lacks or Gramine was told to attest
// nothing, CR_UNSUPPORTED where it attests otherwise than by DCAP.
enum cr_status cr_gramine_attest(const char *root, const unsigned char report_data[CR_REPORT_DATA_SIZE],
                                 enum cr_evidence_type *type, struct cr_buffer *out);

#endif
