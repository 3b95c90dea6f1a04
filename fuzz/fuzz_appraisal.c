// Any bytes as evidence; the first byte chooses of which type. Nothing may fault, and nothing is ever taken
// for genuine, since nobody here has a vendor's key, and nobody vouches for any.
#include "fuzz_support.h"

#include "attestation/appraise.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct cr_endorsements *endorsements;
    static struct cr_appraisal_policy policy;
    if (!endorsements)
        check(cr_endorsements_new(&endorsements) == CR_OK && cr_appraisal_policy_default(&policy) == CR_OK);
    if (size == 0) return 0;
    const struct cr_grounds grounds = {.endorsements = endorsements, .policy = &policy, .time = 1750000000};
    struct cr_evidence evidence = {.type = (enum cr_evidence_type)(data[0] % CR_EVIDENCE_TYPES)};
    struct cr_appraisal appraisal = {0};
    check(cr_append(&evidence.bytes, data + 1, size - 1) == CR_OK);
    check(cr_appraise(&evidence, &grounds, &appraisal) == CR_OK);
    check(!appraisal.signature_valid && cr_appraisal_verdict(&appraisal) == CR_CONTRADICTED);
    check(cr_appraisal_reason(&appraisal) != NULL);
    cr_appraisal_release(&appraisal);
    cr_evidence_release(&evidence);
    return 0;
}
