// Replaces tpm_attest.c, tpm_device.c and tpm_seal.c in what a TEE measures, and where there is no tpm2-tss.
#include "attestation/tpm_attest.h"
#include "attestation/tpm_seal.h"

static enum cr_status refuse(void)
{
    return cr_fail(CR_UNSUPPORTED, "this program was built without the library that speaks to TPMs "
                                   "(tpm2-tss), as programs for TEEs are");
}

enum cr_status cr_tpm_attest(const char *path, const unsigned char report_data[CR_REPORT_DATA_SIZE],
                             enum cr_evidence_type *type, struct cr_buffer *out)
{
    (void)path, (void)report_data, (void)type, (void)out;
    return refuse();
}

enum cr_status cr_tpm_seal(const char *path, struct cr_slice secret, struct cr_buffer *out)
{
    (void)path, (void)secret, (void)out;
    return refuse();
}

enum cr_status cr_tpm_unseal(const char *path, struct cr_slice sealed, unsigned char *out, size_t size)
{
    (void)path, (void)sealed, (void)out, (void)size;
    return refuse();
}
