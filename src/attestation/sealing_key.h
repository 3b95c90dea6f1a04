// Sources of the key under which a program seals what it keeps (crypto/seal.h): what only this program on
// this machine gets again.
//
//   gramine      of an SGX enclave, by its measurement (MRENCLAVE), from Gramine
//   snp          of a guest under SEV-SNP, by its measurement and policy, from the processor
//   tpm          drawn here, and sealed by a TPM to what was booted (sealing.tpm beside what is sealed;
//                attestation/tpm_seal.h); absent from the build for TEEs, where the TPM is the operator's
//   development  a file beside what is sealed, which protects nothing from who holds the disk; absent from
//                the build for TEEs
//
// Where the machine has a key of its own no other one is taken, whatever its operator asks for: he could
// choose one that he knows. A TDX guest has none.
#ifndef CARREL_ATTESTATION_SEALING_KEY_H
#define CARREL_ATTESTATION_SEALING_KEY_H

#include "crypto/seal.h"

// Where the interfaces lie.
struct cr_sealing_places {
    const char *gramine; // key file
    const char *snp;     // device
    const char *tdx;     // device: that it is there tells a guest under TDX
    const char *tpm;     // device, or a unix socket behind which a TPM answers
};

// The key of that source; "auto": the machine's own where it has one, CR_UNSUPPORTED in a TDX guest, else
// development's. `directory` is that of what is to be sealed, for sources that keep something there; it must
// be there. Free with cr_secret_free. CR_INVALID for a name that is not known, or one that may not be chosen
// here; CR_NOT_FOUND where the source is not there, CR_UNSUPPORTED where this build lacks it.
enum cr_status cr_sealing_key_get(const char *name, const struct cr_sealing_places *places,
                                  const char *directory, struct cr_sealing_key **out);

// The same of this machine. `name` NULL: "auto". `tpm`: where its TPM is; NULL: where it usually is.
enum cr_status cr_sealing_key_here(const char *name, const char *tpm, const char *directory,
                                   struct cr_sealing_key **out);

// That cr_sealing_key_here would get it, also where `directory` is not there yet; nothing is made or kept.
// Sets *source to its name, a static string.
enum cr_status cr_sealing_key_check(const char *name, const char *tpm, const char *directory,
                                    const char **source);

// Whether whoever holds the disk can open what is sealed under it.
bool cr_sealing_key_is_development(const struct cr_sealing_key *key);

#endif
