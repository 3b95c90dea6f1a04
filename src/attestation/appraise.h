// Appraises evidence against a policy with the help of endorsements, at a given time.
#ifndef CARREL_ATTESTATION_APPRAISE_H
#define CARREL_ATTESTATION_APPRAISE_H

#include "attestation/appraisal_policy.h"
#include "attestation/endorsements.h"
#include "attestation/evidence.h"

// What an appraisal uses besides the evidence. All of it is borrowed.
struct cr_grounds {
    const struct cr_endorsements *endorsements;
    const struct cr_appraisal_policy *policy;
    int64_t time;             // seconds since 1970
    int64_t collateral_floor; // statements and CRLs issued before this are not accepted; 0: no limit
    struct cr_slice
        event_log; // log of what a TD or a TPM measured (attestation/event_log.h); {NULL, 0} if there is none
};

// Everything wrong with the evidence, even that it cannot be parsed, becomes a finding; the call itself fails
// only for lack of memory. `out` must be zero-initialised; release it, also after a failure.
enum cr_status cr_appraise(const struct cr_evidence *evidence, const struct cr_grounds *grounds,
                           struct cr_appraisal *out);

// The same for one form of evidence: an SGX or TDX quote; an SNP report, raw or wrapped by Azure's paravisor;
// a TPM's quote as a JSON object with `message` (TPMS_ATTEST), `signature` and `pcrs`, the 24 values of the
// bank.
enum cr_status cr_appraise_quote(struct cr_slice bytes, const struct cr_grounds *grounds,
                                 struct cr_appraisal *out);
enum cr_status cr_appraise_report(struct cr_slice bytes, const struct cr_grounds *grounds,
                                  struct cr_appraisal *out);

enum cr_status cr_appraise_tpm(struct cr_slice text, const struct cr_grounds *grounds,
                               struct cr_appraisal *out);

// The same for the development attester's evidence, which is never affirmed, and admitted only if the policy
// says so.
enum cr_status cr_appraise_development(struct cr_slice bytes, const struct cr_grounds *grounds,
                                       struct cr_appraisal *out);

// The same for a certificate of a key that signs evidence (PCK, VCEK, VLEK), in DER.
enum cr_status cr_appraise_certificate(struct cr_slice der, const struct cr_grounds *grounds,
                                       struct cr_appraisal *out);

#endif
