#include "channel/admission.h"

#include <stdio.h>
#include <string.h>

enum { REASON_SIZE = 1024 };

// Whether the evidence was made for this end of this connection.
static enum cr_status check_binding(const struct cr_shown *shown, const struct cr_evidence *evidence,
                                    const struct cr_binding *expected, const struct cr_binding *own)
{
    struct cr_binding binding;
    unsigned char bound[CR_REPORT_DATA_SIZE], wanted[CR_REPORT_DATA_SIZE];
    CR_TRY(cr_binding_parse(shown->binding, &binding));
    CR_TRY(cr_binding_compare(&binding, expected, own));
    if (cr_evidence_report_data(evidence, bound) != CR_OK)
        return cr_fail_within(CR_DENIED, "its evidence is bound to nothing");
    CR_TRY(cr_binding_report_data(shown->binding, evidence->type == CR_EVIDENCE_TPM, wanted));
    if (memcmp(bound, wanted, sizeof bound) != 0)
        return cr_fail(CR_DENIED, "its evidence is not bound to what came with it");
    return CR_OK;
}

// Collects the endorsements, read anew, and the certificates that came with the evidence.
static enum cr_status gather(const struct cr_admission *admission, struct cr_slice evidence,
                             struct cr_endorsements **out)
{
    CR_CLEANUP(cr_endorsements_release) struct cr_endorsements *endorsements = NULL;
    CR_TRY(cr_endorsements_new(&endorsements));
    CR_TRY(cr_endorsements_add(endorsements, evidence));
    if (admission->endorsements) CR_TRY(cr_endorsements_read(endorsements, admission->endorsements));
    *out = endorsements;
    endorsements = NULL;
    return CR_OK;
}

static enum cr_status appraise(const struct cr_admission *admission, struct cr_appraised *what,
                               struct cr_appraisal *appraisal)
{
    CR_CLEANUP(cr_endorsements_release) struct cr_endorsements *endorsements = NULL;
    CR_TRY(gather(admission, what->bytes, &endorsements));
    const struct cr_grounds grounds = {.endorsements = endorsements,
                                       .policy = admission->policy,
                                       .time = what->time,
                                       .collateral_floor = admission->collateral_floor};
    CR_TRY(cr_appraise(what->evidence, &grounds, appraisal));
    what->appraisal = appraisal;
    enum cr_verdict verdict = cr_appraisal_verdict(appraisal);
    if (verdict == CR_AFFIRMED || verdict == CR_LET_IN) return CR_OK;
    return cr_fail(CR_DENIED, "its evidence is %s: %s", cr_verdict_name(verdict),
                   cr_appraisal_reason(appraisal));
}

static enum cr_status judge(const struct cr_admission *admission, const struct cr_shown *shown,
                            const struct cr_binding *expected, const struct cr_binding *own,
                            struct cr_appraised *what, struct cr_evidence *evidence,
                            struct cr_appraisal *appraisal)
{
    enum cr_status status = cr_evidence_find(what->bytes, NULL, evidence);
    if (status == CR_NO_MEMORY) return status;
    if (status != CR_OK) return cr_fail_within(CR_DENIED, "it showed no evidence that can be read");
    what->evidence = evidence;
    CR_TRY(check_binding(shown, evidence, expected, own));
    return appraise(admission, what, appraisal);
}

enum cr_status cr_admission_judge(const struct cr_admission *admission, const struct cr_shown *shown,
                                  const struct cr_binding *expected, const struct cr_binding *own,
                                  const struct cr_peer *peer, const char *address, uint64_t round)
{
    CR_CLEANUP(cr_evidence_release) struct cr_evidence evidence = {0};
    CR_CLEANUP(cr_appraisal_release) struct cr_appraisal appraisal = {0};
    int64_t time = admission->clock();
    struct cr_appraised what = {.peer = peer,
                                .address = address,
                                .round = round,
                                .time = time > admission->time_floor ? time : admission->time_floor,
                                .bytes = shown->evidence};
    char why[REASON_SIZE];
    enum cr_status status = judge(admission, shown, expected, own, &what, &evidence, &appraisal);
    if (status != CR_OK) {
        snprintf(why, sizeof why, "%s", cr_error_message());
        what.refusal = why;
    }
    CR_TRY(admission->appraised(admission->context, &what));
    return status == CR_OK ? CR_OK : cr_fail(status, "%s is not admitted: %s", peer->name, why);
}
