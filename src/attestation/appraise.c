#include "attestation/appraise.h"

enum cr_status cr_appraise(const struct cr_evidence *evidence, const struct cr_grounds *grounds,
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
    case CR_EVIDENCE_TYPES:
        break;
    }
    return cr_fail(CR_INTERNAL, "evidence of no type");
}
