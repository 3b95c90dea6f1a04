#include "attestation/appraise.h"
#include "attestation/quote.h"
#include "attestation/ra_tls.h"
#include "attestation/report.h"

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
    case CR_EVIDENCE_TYPES:
        break;
    }
    return cr_fail(CR_INTERNAL, "evidence of no type");
}

// {NULL, 0} where it cannot be read, which a finding has said then.
static struct cr_slice report_data_of(const struct cr_evidence *evidence)
{
    struct cr_slice bytes = cr_buffer_slice(&evidence->bytes);
    struct cr_quote quote;
    struct cr_snp_report report;
    if (evidence->type == CR_EVIDENCE_SNP && cr_snp_report_parse(bytes, &report) == CR_OK)
        return report.report_data;
    if ((evidence->type == CR_EVIDENCE_SGX || evidence->type == CR_EVIDENCE_TDX) &&
        cr_quote_parse(bytes, &quote) == CR_OK)
        return quote.is_td ? quote.td.report_data : quote.sgx.report_data;
    return (struct cr_slice){NULL, 0};
}

enum cr_status cr_appraise(const struct cr_evidence *evidence, const struct cr_grounds *grounds,
                           struct cr_appraisal *out)
{
    CR_TRY(appraise_alone(evidence, grounds, out));
    if (grounds->event_log.size > 0 && evidence->type != CR_EVIDENCE_TDX && evidence->type != CR_EVIDENCE_TPM)
        CR_TRY(cr_found_wrong(out, "event_log", NULL, false, "an event log goes with a TD or a TPM"));
    return cr_ra_tls_judge(evidence, report_data_of(evidence), grounds, out);
}
