// Any bytes as what a vendor puts into its certificates: Intel's SGX extension.
#include "attestation/pck.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct cr_pck pck;
    (void)(cr_pck_parse((struct cr_slice){data, size}, &pck) == CR_OK);
    return 0;
}
