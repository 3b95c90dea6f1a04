// A TPM 2.0 as its device file or a socket gives it, spoken to through tpm2-tss (ESYS).
//
// Source: TCG, "TSS 2.0 TPM Command Transmission Interface"; "TSS 2.0 Enhanced System API".
#ifndef CARREL_ATTESTATION_TPM_DEVICE_H
#define CARREL_ATTESTATION_TPM_DEVICE_H

#include "attestation/tpm.h"

#include <tss2/tss2_esys.h>

// What carries commands there and answers back. `common` is first: tpm2-tss is handed its address.
struct cr_tpm_link {
    TSS2_TCTI_CONTEXT_COMMON_V1 common;
    const char *path;
    int fd;
    bool is_socket;
    unsigned char answer[TPM2_MAX_RESPONSE_SIZE];
    size_t have;            // bytes of an answer that nobody has taken yet
    enum cr_status failure; // what carrying came to, with the sentence in cr_error_message; CR_OK
};

// Zero-initialise it; release it. It stays where it is while it is open.
struct cr_tpm_device {
    struct cr_tpm_link link;
    ESYS_CONTEXT *esys;
};

// `path` is a device (/dev/tpmrm0) or a unix socket behind which a TPM answers (swtpm's), and outlives the
// device. CR_NOT_FOUND where there is none, CR_INVALID where it is neither, CR_IO where it may not be opened
// or another program has it.
enum cr_status cr_tpm_open(const char *path, struct cr_tpm_device *out);
void cr_tpm_release(struct cr_tpm_device *device); // usable with CR_CLEANUP

// CR_OK, or the failure that a code of tpm2-tss stands for: `what` ("no key could be made") and why.
enum cr_status cr_tpm_check(const struct cr_tpm_device *device, TSS2_RC code, const char *what);

// The code's error alone, without the parameter, handle or session that it is about.
TSS2_RC cr_tpm_error(TSS2_RC code);

// Frees what the TPM holds behind *object, if anything.
struct cr_tpm_object {
    const struct cr_tpm_device *device;
    ESYS_TR handle; // ESYS_TR_NONE: nothing
};
void cr_tpm_flush(struct cr_tpm_object *object); // usable with CR_CLEANUP

// A primary key of P-256 in that hierarchy. The TPM draws it from a seed of its own by the template, so it is
// the same one each time, and none has to be kept. *public may be NULL; it is freed with Esys_Free.
enum cr_status cr_tpm_primary(const struct cr_tpm_device *device, ESYS_TR hierarchy,
                              const TPM2B_PUBLIC *template, struct cr_tpm_object *out, TPM2B_PUBLIC **public);

// A selection of PCRs (bit n: PCR n) of the SHA-256 bank.
TPML_PCR_SELECTION cr_tpm_selection(uint32_t selected);

// The values of all PCRs of the SHA-256 bank. CR_UNSUPPORTED where the TPM has no such bank.
enum { CR_TPM_PCR_SIZE = 32 };
enum cr_status cr_tpm_read_pcrs(const struct cr_tpm_device *device,
                                unsigned char out[CR_TPM_PCRS][CR_TPM_PCR_SIZE]);

#endif
