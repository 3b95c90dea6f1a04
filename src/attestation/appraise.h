// Appraisal: evidence and endorsements against a policy, at a time.
#ifndef CARREL_ATTESTATION_APPRAISE_H
#define CARREL_ATTESTATION_APPRAISE_H

#include "attestation/appraisal_policy.h"
#include "attestation/endorsements.h"

// What an appraisal looks at besides the evidence.
struct cr_grounds {
    const struct cr_endorsements *endorsements;
    const struct cr_appraisal_policy *policy;
    int64_t time; // seconds since 1970
};

// An SGX or TDX quote. Whatever is wrong with it is a finding, a form that cannot be read among them; what
// fails is memory. `out` is zero-initialised; release it, also after a failure.
enum cr_status cr_appraise_quote(struct cr_slice quote, const struct cr_grounds *grounds,
                                 struct cr_appraisal *out);

#endif
