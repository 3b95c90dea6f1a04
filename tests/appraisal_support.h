// What tests of appraisals ask of findings.
#ifndef CARREL_TESTS_APPRAISAL_SUPPORT_H
#define CARREL_TESTS_APPRAISAL_SUPPORT_H

#include "support.h"

#include "attestation/appraisal.h"

static inline const struct cr_finding *finding_of(const struct cr_appraisal *appraisal, const char *check)
{
    for (size_t i = 0; i < appraisal->finding_count; i++)
        if (strcmp(appraisal->findings[i].check, check) == 0) return &appraisal->findings[i];
    fail_msg("no finding \"%s\"", check);
    return NULL;
}

// `check` has this outcome and a reason with `part` in it, and no other check is worse than passed, but for
// the program where the policy does not know it.
static inline void assert_only(const struct cr_appraisal *appraisal, const char *check,
                               enum cr_outcome outcome, const char *part)
{
    const struct cr_finding *finding = finding_of(appraisal, check);
    if (finding->outcome != outcome)
        fail_msg("%s: %s (%s)", check, cr_outcome_name(finding->outcome),
                 finding->reason ? finding->reason : "");
    if (!finding->reason || !strstr(finding->reason, part))
        fail_msg("%s: \"%s\" lacks \"%s\"", check, finding->reason ? finding->reason : "", part);
    for (size_t i = 0; i < appraisal->finding_count; i++) {
        const struct cr_finding *other = &appraisal->findings[i];
        if (other != finding && other->outcome > CR_ADMITTED && strcmp(other->check, "program") != 0)
            fail_msg("%s: %s: %s", other->check, cr_outcome_name(other->outcome), other->reason);
    }
}

#endif
