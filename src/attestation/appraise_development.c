#include "attestation/appraise.h"
#include "attestation/development.h"
#include "crypto/signature.h"

enum cr_status cr_appraise_development(struct cr_slice bytes, const struct cr_grounds *grounds,
                                       struct cr_appraisal *out)
{
    struct cr_development evidence;
    enum cr_status status = cr_development_parse(bytes, &evidence);
    if (status != CR_OK) return cr_found(out, "format", status, NULL);
    const struct cr_appraisal_policy *policy = grounds->policy;
    out->debug = true; // the machine's owner can read the program's memory
    CR_TRY(cr_claim_text(out, "type", "development"));
    CR_TRY(cr_claim_hex(out, "key", evidence.key));
    CR_TRY(cr_claim_hex(out, "report_data", evidence.report_data));
    CR_TRY(cr_found(out, "own_signature",
                    cr_ecdsa_verify(evidence.key, evidence.signed_part, evidence.signature), NULL));
    // `signature_valid` stays false, since no root vouches for the key.
    CR_TRY(cr_found_wrong(out, "development", "allow_development", policy->allow_development,
                          "a software key signed this, as anybody's could: it proves nothing"));
    out->waived = policy->allow_development;
    return cr_appraisal_policy_compare_report_data(out, policy, evidence.report_data);
}
