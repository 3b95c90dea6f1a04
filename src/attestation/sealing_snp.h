// The key that an AMD processor derives for a guest under SEV-SNP.
//
// Source: AMD, "SEV Secure Nested Paging Firmware ABI Specification" (56860), MSG_KEY_REQ and MSG_KEY_RSP.
#ifndef CARREL_ATTESTATION_SEALING_SNP_H
#define CARREL_ATTESTATION_SEALING_SNP_H

#include "base/bytes.h"
#include "crypto/keystream.h"

// Of this chip, this measurement and this policy of the guest, at VMPL 0; neither a newer firmware nor a
// restart changes it. CR_NOT_FOUND where the device is not there, CR_IO where it refuses.
enum cr_status cr_sealing_snp(const char *device, unsigned char out[CR_KEY_SIZE]);

// The key in an answer of 64 bytes; CR_IO where that says why there is none.
enum cr_status cr_sealing_snp_parse(struct cr_slice answer, const char *device,
                                    unsigned char out[CR_KEY_SIZE]);

#endif
