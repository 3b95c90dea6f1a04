// What a TPM brings; the first byte chooses: a quote's message, its signature, or the JSON with both. Nothing
// may fault, and nothing is ever taken for genuine, since nobody vouches for a key here.
#include "attestation/appraise.h"
#include "attestation/tpm.h"

#include <stdlib.h>

static void check(bool good)
{
    if (!good) abort();
}

static void appraise(struct cr_slice text)
{
    static struct cr_endorsements *endorsements;
    static struct cr_appraisal_policy policy;
    if (!endorsements)
        check(cr_endorsements_new(&endorsements) == CR_OK && cr_appraisal_policy_default(&policy) == CR_OK);
    const struct cr_grounds grounds = {endorsements, &policy, 1750000000};
    struct cr_appraisal appraisal = {0};
    check(cr_appraise_tpm(text, &grounds, &appraisal) == CR_OK);
    check(!appraisal.signature_valid && cr_appraisal_verdict(&appraisal) == CR_CONTRADICTED);
    cr_appraisal_release(&appraisal);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) return 0;
    struct cr_slice rest = {data + 1, size - 1};
    struct cr_tpm_quote quote;
    struct cr_buffer signature = {0};
    switch (data[0] % 3) {
    case 0:
        if (cr_tpm_quote_parse(rest, &quote) == CR_OK)
            check(cr_tpm_quote_is_one(rest) && quote.digest.size == 32);
        break;
    case 1:
        check(cr_tpm_signature_bytes(rest, &signature) == CR_OK || signature.size == 0);
        break;
    default:
        appraise(rest);
        break;
    }
    cr_buffer_release(&signature);
    return 0;
}
