#include "attestation/appraise.h"
#include "attestation/ra_tls.h"

static enum cr_status appraise_alone(const struct cr_evidence *evidence, const struct cr_grounds *grounds,
                                     struct cr_appraisal *out)
{
    struct cr_slice bytes = cr_buffer_slice(&evidence->bytes);
    switch (evidence->type) {
    case CR_EVIDENCE_SGX:
    case CR_EVIDENCE_TDX:
        return cr_appraise_quote(bytes, grounds, out);
    case CR_EVIDENCE_SNP:
        return cr_appraise_report(bytes, grounds, out);
    case CR_EVIDENCE_TPM:
        return cr_appraise_tpm(bytes, grounds, out);
    case CR_EVIDENCE_CERTIFICATE:
        return cr_appraise_certificate(bytes, grounds, out);
    case CR_EVIDENCE_DEVELOPMENT:
        return cr_appraise_development(bytes, grounds, out);
    case CR_EVIDENCE_TYPES:
        break;
    }
    return cr_fail(CR_INTERNAL, "evidence of no type");
}

enum cr_status cr_appraise(const struct cr_evidence *evidence, const struct cr_grounds *grounds,
                           struct cr_appraisal *out)
{
    unsigned char report_data[CR_REPORT_DATA_SIZE];
    struct cr_slice told = {report_data, sizeof report_data};
    CR_TRY(appraise_alone(evidence, grounds, out));
    if (grounds->event_log.size > 0 && evidence->type != CR_EVIDENCE_TDX && evidence->type != CR_EVIDENCE_TPM)
        CR_TRY(cr_found_wrong(out, "event_log", NULL, false, "an event log goes with a TD or a TPM"));
    // If it cannot be read, there already is a finding.
    if (cr_evidence_report_data(evidence, report_data) != CR_OK) told = (struct cr_slice){NULL, 0};
    return cr_ra_tls_judge(evidence, told, grounds, out);
}
