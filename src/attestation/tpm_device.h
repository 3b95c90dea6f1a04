// A TPM 2.0 behind a device file or a socket, used through tpm2-tss (ESYS).
//
// Source: TCG, "TSS 2.0 TPM Command Transmission Interface"; "TSS 2.0 Enhanced System API".
#ifndef CARREL_ATTESTATION_TPM_DEVICE_H
#define CARREL_ATTESTATION_TPM_DEVICE_H

#include "attestation/tpm.h"

#include <tss2/tss2_esys.h>

// The transport of commands and answers. `common` comes first: tpm2-tss is given its address.
struct cr_tpm_link {
    TSS2_TCTI_CONTEXT_COMMON_V1 common;
    const char *path;
    int fd;
    bool is_socket;
    unsigned char answer[TPM2_MAX_RESPONSE_SIZE];
    size_t have;            // bytes of an answer not yet taken
    enum cr_status failure; // the transport's failure, with its message in cr_error_message, or CR_OK
};

// Zero-initialise it; release it with cr_tpm_release. It must not be moved while open.
struct cr_tpm_device {
    struct cr_tpm_link link;
    ESYS_CONTEXT *esys;
};

// `path` is a device (/dev/tpmrm0) or a unix socket behind which a TPM answers (swtpm's); it must outlive the
// device. CR_NOT_FOUND if it does not exist, CR_INVALID if it is neither, CR_IO if it may not be opened or
// another program uses it.
enum cr_status cr_tpm_open(const char *path, struct cr_tpm_device *out);
void cr_tpm_release(struct cr_tpm_device *device); // usable with CR_CLEANUP

// Converts a code of tpm2-tss to CR_OK or a failure with the message `what` ("no key could be made") and the
// reason.
enum cr_status cr_tpm_check(const struct cr_tpm_device *device, TSS2_RC code, const char *what);

// The code's error without the parameter, handle or session to which it refers.
TSS2_RC cr_tpm_error(TSS2_RC code);

// An object in the TPM; cr_tpm_flush frees it, if there is one.
struct cr_tpm_object {
    const struct cr_tpm_device *device;
    ESYS_TR handle; // ESYS_TR_NONE: nothing
};
void cr_tpm_flush(struct cr_tpm_object *object); // usable with CR_CLEANUP

// Makes a primary P-256 key in the hierarchy. The TPM derives it from the hierarchy's seed and the template,
// so it is the same each time and need not be stored. *public may be NULL; free it with Esys_Free.
enum cr_status cr_tpm_primary(const struct cr_tpm_device *device, ESYS_TR hierarchy,
                              const TPM2B_PUBLIC *template, struct cr_tpm_object *out, TPM2B_PUBLIC **public);

// A selection of PCRs (bit n: PCR n) of the SHA-256 bank.
TPML_PCR_SELECTION cr_tpm_selection(uint32_t selected);

// Reads the values of all PCRs of the SHA-256 bank. CR_UNSUPPORTED if the TPM has no such bank.
enum { CR_TPM_PCR_SIZE = 32 };
enum cr_status cr_tpm_read_pcrs(const struct cr_tpm_device *device,
                                unsigned char out[CR_TPM_PCRS][CR_TPM_PCR_SIZE]);

#endif
