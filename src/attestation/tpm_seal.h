// A secret that a TPM gives back only to a machine that was started as this one was.
#ifndef CARREL_ATTESTATION_TPM_SEAL_H
#define CARREL_ATTESTATION_TPM_SEAL_H

#include "attestation/tpm.h"

enum {
    CR_TPM_SEAL_MOST = 128, // bytes of a secret
    // The PCRs that must hold the same values again (bit n: PCR n): code of firmware (0), of adapters (2) and
    // of boot loader and kernel (4), secure boot (7), what GRUB or systemd-stub measure of commands, kernel
    // and initrd (8, 9), the command line (12), keys that a shim trusts (14). Those that change while a
    // machine runs (10, 11, 13, 15) or with its settings (1, 3, 5, 6) are left out.
    CR_TPM_SEAL_PCRS = 1 << 0 | 1 << 2 | 1 << 4 | 1 << 7 | 1 << 8 | 1 << 9 | 1 << 12 | 1 << 14,
};

// Appends the secret as only this TPM can open it, while those PCRs have the values that they have now.
// `path` is cr_tpm_open's. CR_UNSUPPORTED in a program that was built without tpm2-tss.
enum cr_status cr_tpm_seal(const char *path, struct cr_slice secret, struct cr_buffer *out);

// The secret again, of `size` bytes. CR_DENIED where PCRs have other values, which names them, where another
// TPM sealed it (or this one before it was cleared), and where it was changed; CR_INVALID where it is no such
// thing.
enum cr_status cr_tpm_unseal(const char *path, struct cr_slice sealed, unsigned char *out, size_t size);

#endif
