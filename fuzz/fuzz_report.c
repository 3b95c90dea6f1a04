// Any bytes as an SNP report, raw or as Azure's paravisor wraps it: nothing may fault, and nothing is ever
// taken for genuine, since nobody here has a key of AMD's.
#include "attestation/appraise.h"

#include <stdlib.h>

static void check(bool good)
{
    if (!good) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct cr_endorsements *endorsements;
    static struct cr_appraisal_policy policy;
    if (!endorsements)
        check(cr_endorsements_new(&endorsements) == CR_OK && cr_appraisal_policy_default(&policy) == CR_OK);
    const struct cr_grounds grounds = {endorsements, &policy, 1750000000};
    struct cr_appraisal appraisal = {0};
    check(cr_appraise_report((struct cr_slice){data, size}, &grounds, &appraisal) == CR_OK);
    check(!appraisal.signature_valid && cr_appraisal_verdict(&appraisal) == CR_CONTRADICTED);
    check(cr_appraisal_reason(&appraisal) != NULL);
    cr_appraisal_release(&appraisal);
    return 0;
}
