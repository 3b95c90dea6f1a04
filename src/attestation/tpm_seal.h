// Seals a secret with a TPM, which releases it only if the machine was booted as it was this time.
#ifndef CARREL_ATTESTATION_TPM_SEAL_H
#define CARREL_ATTESTATION_TPM_SEAL_H

#include "attestation/tpm.h"

enum {
    CR_TPM_SEAL_MOST = 128, // bytes of a secret
    // The PCRs that must have the same values again (bit n: PCR n): code of firmware (0), of adapters (2) and
    // of boot loader and kernel (4), secure boot (7), what GRUB or systemd-stub measure of commands, kernel
    // and initrd (8, 9), the command line (12), keys that a shim trusts (14). PCRs that change while a
    // machine runs (10, 11, 13, 15) or with its settings (1, 3, 5, 6) are left out.
    CR_TPM_SEAL_PCRS = 1 << 0 | 1 << 2 | 1 << 4 | 1 << 7 | 1 << 8 | 1 << 9 | 1 << 12 | 1 << 14,
};

// Appends the secret, sealed so that only this TPM can open it, and only while those PCRs have their current
// values. For `path` see cr_tpm_open. CR_UNSUPPORTED in a program built without tpm2-tss.
enum cr_status cr_tpm_seal(const char *path, struct cr_slice secret, struct cr_buffer *out);

// Opens the sealed secret, of `size` bytes. CR_DENIED if PCRs have other values (the message names them), if
// another TPM sealed it (or this one before it was cleared), or if it was changed; CR_INVALID if it is not a
// sealed secret.
enum cr_status cr_tpm_unseal(const char *path, struct cr_slice sealed, unsigned char *out, size_t size);

#endif
