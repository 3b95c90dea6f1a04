// The key that an AMD processor derives for a guest under SEV-SNP.
//
// Source: AMD, "SEV Secure Nested Paging Firmware ABI Specification" (56860), MSG_KEY_REQ and MSG_KEY_RSP.
#ifndef CARREL_ATTESTATION_SEALING_SNP_H
#define CARREL_ATTESTATION_SEALING_SNP_H

#include "base/bytes.h"
#include "crypto/keystream.h"

// The key depends on the chip, and on the guest's measurement and policy, at VMPL 0; a newer firmware or a
// restart does not change it. CR_NOT_FOUND if there is no device, CR_IO if it refuses.
enum cr_status cr_sealing_snp(const char *device, unsigned char out[CR_KEY_SIZE]);

// Reads the key from the device's answer of 64 bytes; CR_IO, with the reason, if that contains none.
enum cr_status cr_sealing_snp_parse(struct cr_slice answer, const char *device,
                                    unsigned char out[CR_KEY_SIZE]);

#endif
