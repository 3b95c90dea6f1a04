// Appraisal: evidence and endorsements against a policy, at a time.
#ifndef CARREL_ATTESTATION_APPRAISE_H
#define CARREL_ATTESTATION_APPRAISE_H

#include "attestation/appraisal_policy.h"
#include "attestation/endorsements.h"
#include "attestation/evidence.h"

// What an appraisal looks at besides the evidence.
struct cr_grounds {
    const struct cr_endorsements *endorsements;
    const struct cr_appraisal_policy *policy;
    int64_t time;             // seconds since 1970
    int64_t collateral_floor; // statements and lists that were issued before it do not do; 0: all do
    struct cr_slice
        event_log; // what a TD or a TPM says it measured (attestation/event_log.h); {NULL, 0} for none
};

// Whatever is wrong with the evidence is a finding, a form that cannot be read among them; what fails is
// memory. `out` is zero-initialised; release it, also after a failure.
enum cr_status cr_appraise(const struct cr_evidence *evidence, const struct cr_grounds *grounds,
                           struct cr_appraisal *out);

// The same of an SGX or TDX quote; of an SNP report, raw or as Azure's paravisor wraps it; and of a TPM's
// quote: a JSON object with `message` (TPMS_ATTEST), `signature` and `pcrs`, the 24 values of the bank.
enum cr_status cr_appraise_quote(struct cr_slice bytes, const struct cr_grounds *grounds,
                                 struct cr_appraisal *out);
enum cr_status cr_appraise_report(struct cr_slice bytes, const struct cr_grounds *grounds,
                                  struct cr_appraisal *out);

enum cr_status cr_appraise_tpm(struct cr_slice text, const struct cr_grounds *grounds,
                               struct cr_appraisal *out);

// The same of the development attester's: never affirmed, and admitted only where the policy says so.
enum cr_status cr_appraise_development(struct cr_slice bytes, const struct cr_grounds *grounds,
                                       struct cr_appraisal *out);

// The same of a certificate for a key that signs evidence (PCK, VCEK, VLEK), in DER.
enum cr_status cr_appraise_certificate(struct cr_slice der, const struct cr_grounds *grounds,
                                       struct cr_appraisal *out);

#endif
