// Claims beside evidence, and the certificate around them: a length of two bytes, so much of DER, then the
// claims. Nothing may fault, and claims to which the evidence is not bound never pass.
#include "fuzz_support.h"

#include "attestation/ra_tls.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct cr_endorsements *endorsements;
    static struct cr_appraisal_policy policy;
    if (!endorsements)
        check(cr_endorsements_new(&endorsements) == CR_OK && cr_appraisal_policy_default(&policy) == CR_OK);
    const struct cr_grounds grounds = {.endorsements = endorsements, .policy = &policy, .time = 1750000000};
    unsigned char report_data[64] = {1};
    struct cr_cursor cursor = cr_cursor_over((struct cr_slice){data, size});
    struct cr_slice certificate = cr_read_slice(&cursor, cr_read_u16(&cursor));
    struct cr_slice claims = cr_read_slice(&cursor, cr_cursor_left(&cursor));
    struct cr_evidence evidence = {0};
    struct cr_appraisal appraisal = {0};
    check(cr_append(&evidence.certificate, certificate.data, certificate.size) == CR_OK);
    check(cr_append(&evidence.claims, claims.data, claims.size) == CR_OK);
    check(cr_ra_tls_judge(&evidence, (struct cr_slice){report_data, sizeof report_data}, &grounds,
                          &appraisal) == CR_OK);
    for (size_t i = 0; i < appraisal.finding_count; i++)
        check(strcmp(appraisal.findings[i].check, "claims") != 0 ||
              appraisal.findings[i].outcome == CR_REFUSED);
    cr_appraisal_release(&appraisal);
    cr_evidence_release(&evidence);
    return 0;
}
