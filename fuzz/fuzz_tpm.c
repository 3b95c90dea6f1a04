// What a TPM brings; the first byte chooses: a quote's message, or its signature.
#include "attestation/tpm.h"

#include <stdlib.h>

static void check(bool good)
{
    if (!good) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) return 0;
    struct cr_slice rest = {data + 1, size - 1};
    struct cr_tpm_quote quote;
    struct cr_buffer signature = {0};
    if (data[0] % 2 == 0) {
        if (cr_tpm_quote_parse(rest, &quote) == CR_OK)
            check(cr_tpm_quote_is_one(rest) && quote.digest.size == 32);
    } else {
        check(cr_tpm_signature_bytes(rest, &signature) == CR_OK || signature.size == 0);
    }
    cr_buffer_release(&signature);
    return 0;
}
