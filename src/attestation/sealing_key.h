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

// Where the sources' interfaces are.
struct cr_sealing_places {
    const char *gramine; // key file
    const char *snp;     // device
    const char *tdx;     // device whose existence shows that this is a TDX guest
    const char *tpm;     // device, or a unix socket behind which a TPM answers
};

// The key from this source; "auto": the machine's own source if it has one, CR_UNSUPPORTED in a TDX guest,
// else "development". `directory` is where the sealed files will be; some sources keep a file there; it must
// exist. Free the key with cr_secret_free. CR_INVALID for an unknown name, or a source that may not be chosen
// on this machine; CR_NOT_FOUND if the source is missing, CR_UNSUPPORTED if this build lacks it.
enum cr_status cr_sealing_key_get(const char *name, const struct cr_sealing_places *places,
                                  const char *directory, struct cr_sealing_key **out);

// The same with this machine's usual places. `name` NULL: "auto". `tpm`: where the TPM is; NULL: its usual
// place.
enum cr_status cr_sealing_key_here(const char *name, const char *tpm, const char *directory,
                                   struct cr_sealing_key **out);

// Checks that cr_sealing_key_here would succeed, even if `directory` does not exist yet; creates nothing.
// Sets *source to the source's name, a static string.
enum cr_status cr_sealing_key_check(const char *name, const char *tpm, const char *directory,
                                    const char **source);

// Whether the key is the development source's: then whoever has the disk can open what is sealed.
bool cr_sealing_key_is_development(const struct cr_sealing_key *key);

#endif
