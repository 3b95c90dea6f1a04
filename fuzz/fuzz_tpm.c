// What a TPM brings; the first byte chooses: a quote's message, its signature, or what it sealed.
#include "fuzz_support.h"

#include "attestation/tpm_seal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) return 0;
    struct cr_slice rest = {data + 1, size - 1};
    struct cr_tpm_quote quote;
    struct cr_buffer signature = {0};
    unsigned char secret[32];
    switch (data[0] % 3) {
    case 0:
        if (cr_tpm_quote_parse(rest, &quote) == CR_OK)
            check(cr_tpm_quote_is_one(rest) && quote.digest.size == 32);
        break;
    case 1:
        check(cr_tpm_signature_bytes(rest, &signature) == CR_OK || signature.size == 0);
        break;
    default: // well-formed, it is for a TPM to open
        check(cr_tpm_unseal("/nonexistent", rest, secret, sizeof secret) != CR_OK);
    }
    cr_buffer_release(&signature);
    return 0;
}
