#include "attestation/appraise.h"
#include "attestation/encoding.h"
#include "attestation/event_log.h"
#include "attestation/hcl.h"
#include "attestation/judge.h"
#include "attestation/quote.h"
#include "attestation/report.h"
#include "attestation/tpm.h"
#include "crypto/chain.h"
#include "crypto/signature.h"
#include "format/json.h"

#include <string.h>

enum { MOST_PCR_SIZE = 48 };

static const char *const pcr_names[CR_TPM_PCRS] = {"pcr0",  "pcr1",  "pcr2",  "pcr3",  "pcr4",  "pcr5",
                                                   "pcr6",  "pcr7",  "pcr8",  "pcr9",  "pcr10", "pcr11",
                                                   "pcr12", "pcr13", "pcr14", "pcr15", "pcr16", "pcr17",
                                                   "pcr18", "pcr19", "pcr20", "pcr21", "pcr22", "pcr23"};

// The state of one appraisal.
struct work {
    struct cr_buffer message, signature;
    struct cr_tpm_quote quote;
    unsigned char pcrs[CR_TPM_PCRS][MOST_PCR_SIZE];
    const struct cr_grounds *grounds;
    struct cr_appraisal *appraisal;
    // What vouches for the signing key: a certificate, or the data that Azure's paravisor keeps. Both NULL if
    // neither does.
    const struct cr_x509 *certificate;
    const struct cr_buffer *hcl;
};

static enum cr_status read_pcrs(const struct cr_json *list, struct work *work)
{
    size_t size = cr_tpm_hash_size(work->quote.bank);
    if (cr_json_count(list) != CR_TPM_PCRS)
        return cr_fail(CR_INVALID, "TPM quote: %zu PCRs beside it, not %d", cr_json_count(list), CR_TPM_PCRS);
    for (size_t i = 0; i < CR_TPM_PCRS; i++) {
        CR_CLEANUP(cr_buffer_release) struct cr_buffer value = {0};
        CR_TRY(cr_encoding_value(cr_json_at(list, i), &value));
        if (value.size != size)
            return cr_fail(CR_INVALID, "TPM quote: PCR %zu of %zu bytes, not %zu", i, value.size, size);
        memcpy(work->pcrs[i], value.data, size);
    }
    return CR_OK;
}

static enum cr_status parse(struct cr_slice text, struct work *work)
{
    CR_CLEANUP(cr_json_release) struct cr_json *root = NULL;
    CR_CLEANUP(cr_buffer_release) struct cr_buffer signature = {0};
    CR_TRY(cr_json_parse(text, "TPM quote", &root));
    CR_TRY(cr_encoding_value(cr_json_member(root, "message"), &work->message));
    CR_TRY(cr_encoding_value(cr_json_member(root, "signature"), &signature));
    CR_TRY(cr_tpm_signature_bytes(cr_buffer_slice(&signature), &work->signature));
    CR_TRY(cr_tpm_quote_parse(cr_buffer_slice(&work->message), &work->quote));
    return read_pcrs(cr_json_member(root, "pcrs"), work);
}

static struct cr_slice pcr_of(const struct work *work, size_t i)
{
    return (struct cr_slice){work->pcrs[i], cr_tpm_hash_size(work->quote.bank)};
}

static enum cr_status claim(struct work *work)
{
    struct cr_appraisal *a = work->appraisal;
    const struct cr_tpm_quote *quote = &work->quote;
    CR_TRY(cr_claim_text(a, "type", "tpm"));
    CR_TRY(cr_claim_hex(a, "extra_data", quote->extra_data));
    CR_TRY(cr_claim_number(a, "clock", quote->clock));
    CR_TRY(cr_claim_number(a, "reset_count", quote->reset_count));
    CR_TRY(cr_claim_number(a, "restart_count", quote->restart_count));
    CR_TRY(cr_claim_bool(a, "clock_safe", quote->safe));
    CR_TRY(cr_claim_number(a, "firmware_version", quote->firmware_version));
    CR_TRY(cr_claim_text(a, "pcr_bank",
                         quote->bank == CR_TPM_SHA1     ? "sha1"
                         : quote->bank == CR_TPM_SHA256 ? "sha256"
                                                        : "sha384"));
    for (size_t i = 0; i < CR_TPM_PCRS; i++)
        if (quote->selected >> i & 1) CR_TRY(cr_claim_hex(a, pcr_names[i], pcr_of(work, i)));
    return CR_OK;
}

// Whether the quote was signed by the vTPM's key (a JWK named HCLAkPub in the runtime data).
static enum cr_status signed_by_hcl(const struct work *work, struct cr_slice runtime_data, bool *out)
{
    *out = false;
    CR_CLEANUP(cr_json_release) struct cr_json *root = NULL;
    enum cr_status status = cr_json_parse(runtime_data, "runtime data", &root);
    if (status != CR_OK) return status == CR_INVALID ? CR_OK : status;
    const struct cr_json *keys = cr_json_member(root, "keys");
    for (size_t i = 0; i < cr_json_count(keys) && !*out; i++) {
        const struct cr_json *key = cr_json_at(keys, i);
        CR_CLEANUP(cr_buffer_release) struct cr_buffer modulus = {0}, exponent = {0};
        if (!cr_json_is_string(cr_json_member(key, "kid"), "HCLAkPub") ||
            !cr_json_is_string(cr_json_member(key, "kty"), "RSA"))
            continue;
        if (cr_base64url_decode(cr_json_string(cr_json_member(key, "n")), &modulus) != CR_OK ||
            cr_base64url_decode(cr_json_string(cr_json_member(key, "e")), &exponent) != CR_OK)
            continue;
        *out = cr_rsa_verify(cr_buffer_slice(&modulus), cr_buffer_slice(&exponent),
                             cr_buffer_slice(&work->message), cr_buffer_slice(&work->signature)) == CR_OK;
    }
    return CR_OK;
}

// Searches all endorsements, which include what the evidence's file contains.
static enum cr_status find_signer(struct work *work)
{
    const struct cr_endorsements *all = work->grounds->endorsements;
    for (size_t i = 0; i < all->brought_count; i++) {
        struct cr_hcl hcl;
        bool is_signer = false;
        struct cr_slice bytes = cr_buffer_slice(&all->brought[i]);
        if (!cr_hcl_is_one(bytes) || cr_hcl_parse(bytes, &hcl) != CR_OK) continue;
        CR_TRY(signed_by_hcl(work, hcl.runtime_data, &is_signer));
        if (!is_signer) continue;
        work->hcl = &all->brought[i];
        return CR_OK;
    }
    for (size_t i = 0; i < cr_x509_pool_count(all->pool); i++) {
        const struct cr_x509 *one = cr_x509_pool_at(all->pool, i);
        if (cr_x509_verify(one, cr_buffer_slice(&work->message), cr_buffer_slice(&work->signature)) != CR_OK)
            continue;
        work->certificate = one;
        return CR_OK;
    }
    return CR_OK;
}

static enum cr_status check_signature(const struct work *work)
{
    if (work->certificate || work->hcl) return CR_OK;
    return cr_fail(CR_DENIED,
                   "TPM quote: no attestation key of the endorsements (a certificate's, or one that a "
                   "confidential VM's report is bound to) has signed it");
}

// A TDX quote that is bound to the paravisor's data; {NULL, 0} if there is none.
static struct cr_slice find_quote(const struct cr_endorsements *all, const struct cr_hcl *hcl)
{
    for (size_t i = 0; i < all->brought_count; i++) {
        struct cr_quote quote;
        struct cr_slice bytes = cr_buffer_slice(&all->brought[i]);
        if (cr_quote_is_one(bytes) && cr_quote_parse(bytes, &quote) == CR_OK && quote.is_td &&
            cr_hcl_check(hcl, quote.td.report_data) == CR_OK)
            return bytes;
    }
    return (struct cr_slice){NULL, 0};
}

// The hardware's evidence for the paravisor's data: the SNP report in it or, for a TD, a quote.
static enum cr_status find_hardware(const struct work *work, const struct cr_hcl *hcl,
                                    struct cr_evidence *out)
{
    struct cr_slice found = cr_buffer_slice(work->hcl);
    if (hcl->kind == CR_HCL_SNP) {
        struct cr_snp_report report;
        CR_TRY(cr_snp_report_parse(hcl->report, &report));
        CR_TRY(cr_hcl_check(hcl, report.report_data));
    } else {
        found = find_quote(work->grounds->endorsements, hcl);
        if (!found.data)
            return cr_fail(CR_DENIED,
                           "no TDX quote that is bound to the vTPM's key is among the endorsements");
    }
    out->type = hcl->kind == CR_HCL_SNP ? CR_EVIDENCE_SNP : CR_EVIDENCE_TDX;
    return cr_append(&out->bytes, found.data, found.size);
}

// The key is trusted as far as the hardware's evidence for it.
static enum cr_status judge_hardware(struct work *work, bool *good)
{
    struct cr_appraisal *a = work->appraisal;
    struct cr_hcl hcl;
    CR_CLEANUP(cr_appraisal_release) struct cr_appraisal hardware = {0};
    struct cr_evidence evidence = {0};
    *good = false;
    CR_TRY(cr_hcl_parse(cr_buffer_slice(work->hcl), &hcl));
    enum cr_status status = find_hardware(work, &hcl, &evidence);
    if (status != CR_OK) return cr_found(a, "attestation_key", status, NULL);
    // The hardware's evidence is bound to the key, not to the challenge, to which only the TPM's quote is
    // bound.
    struct cr_appraisal_policy policy = *work->grounds->policy;
    policy.report_data = (struct cr_string_list){0};
    struct cr_grounds grounds = *work->grounds;
    grounds.policy = &policy;
    grounds.event_log = (struct cr_slice){0}; // the TPM's
    status = cr_appraise(&evidence, &grounds, &hardware);
    cr_evidence_release(&evidence);
    CR_TRY(status);
    *good = hardware.signature_valid;
    a->tcb_status = hardware.tcb_status;
    a->debug = hardware.debug;
    CR_TRY(cr_claim_text(a, "hardware", cr_evidence_type_name(evidence.type)));
    const char *reason = cr_appraisal_reason(&hardware);
    switch (cr_appraisal_verdict(&hardware)) {
    case CR_AFFIRMED:
        break;
    case CR_UNAFFIRMED:
        return cr_found_unknown(a, "attestation_key", NULL, false, "the hardware that vouches for it: %s",
                                reason);
    case CR_CONTRADICTED:
        return cr_found_wrong(a, "attestation_key", NULL, false, "the hardware that vouches for it: %s",
                              reason);
    case CR_LET_IN: // never the verdict on hardware's evidence
        return cr_found_wrong(a, "attestation_key", NULL, false, "no hardware vouches for it");
    }
    return cr_found_passed(a, "attestation_key");
}

// Only the policy names roots: carrel does not decide which TPM makers to trust.
static enum cr_status judge_certificate(struct work *work, bool *good)
{
    struct cr_appraisal *a = work->appraisal;
    CR_CLEANUP(cr_chain_sources_release) struct cr_chain_sources sources = {0};
    struct cr_chain chain;
    CR_TRY(cr_judge_sources(work->grounds, NULL, NULL, 0, &sources));
    enum cr_status status = cr_chain_find(&sources, work->certificate, &chain);
    if (status != CR_OK)
        status = cr_fail_within(
            status, "no chain from the attestation key's certificate to one of the policy's trusted_roots");
    CR_TRY(cr_found(a, "attestation_key", status, good));
    if (!*good) return CR_OK;
    const struct cr_chain *const chains[] = {&chain};
    CR_TRY(cr_judge_validity(a, "key_validity", &chain, work->grounds));
    return cr_judge_revocation(a, &sources, chains, 1, work->grounds);
}

static enum cr_status check_digest(const struct work *work)
{
    unsigned char digest[CR_SHA256_SIZE];
    CR_CLEANUP(cr_buffer_release) struct cr_buffer all = {0};
    for (size_t i = 0; i < CR_TPM_PCRS; i++)
        if (work->quote.selected >> i & 1) CR_TRY(cr_append(&all, work->pcrs[i], pcr_of(work, i).size));
    CR_TRY(cr_sha256(cr_buffer_slice(&all), digest));
    if (memcmp(digest, work->quote.digest.data, sizeof digest) != 0)
        return cr_fail(CR_DENIED, "TPM quote: it is over other PCRs than those beside it");
    return CR_OK;
}

static enum cr_status judge_pcr(struct work *work, const struct cr_policy_pcr *wanted)
{
    if (!(work->quote.selected >> wanted->index & 1))
        return cr_found_wrong(work->appraisal, pcr_names[wanted->index], NULL, false,
                              "it is not among the PCRs quoted");
    return cr_appraisal_policy_compare(work->appraisal, pcr_names[wanted->index], &wanted->values,
                                       pcr_of(work, wanted->index));
}

static enum cr_status judge_report_data(struct work *work)
{
    unsigned char padded[CR_REPORT_DATA_SIZE];
    if (work->grounds->policy->report_data.count == 0) return CR_OK;
    enum cr_status status = cr_evidence_pad(work->quote.extra_data, padded);
    if (status != CR_OK) return cr_found(work->appraisal, "report_data", status, NULL);
    return cr_appraisal_policy_compare_report_data(work->appraisal, work->grounds->policy,
                                                   (struct cr_slice){padded, sizeof padded});
}

static enum cr_status judge_policy(struct work *work)
{
    struct cr_appraisal *a = work->appraisal;
    const struct cr_appraisal_policy *policy = work->grounds->policy;
    if (!work->hcl)
        CR_TRY(cr_found_wrong(a, "measured_boot", "tpm.allow_measured_boot", policy->tpm.allow_measured_boot,
                              "a TPM tells what was started, and keeps nobody who owns the machine from it"));
    const struct cr_policy_pcr *pcrs = policy->tpm.pcrs.items;
    for (size_t i = 0; i < policy->tpm.pcrs.count; i++) CR_TRY(judge_pcr(work, &pcrs[i]));
    if (policy->tpm.pcrs.count == 0) CR_TRY(cr_appraisal_policy_program_unknown(a, policy, "tpm.pcrs"));
    return judge_report_data(work);
}

static enum cr_status judge_event_log(struct work *work)
{
    struct cr_slice registers[CR_TPM_PCRS] = {0};
    for (size_t i = 0; i < CR_TPM_PCRS; i++)
        if (work->quote.selected >> i & 1) registers[i] = pcr_of(work, i);
    return cr_event_log_judge(work->appraisal, work->grounds->event_log, work->quote.bank, registers,
                              CR_TPM_PCRS, 0);
}

static enum cr_status judge(struct work *work)
{
    struct cr_appraisal *a = work->appraisal;
    bool signature, key = false, digest;
    CR_TRY(claim(work));
    CR_TRY(find_signer(work));
    CR_TRY(cr_found(a, "quote_signature", check_signature(work), &signature));
    if (work->hcl)
        CR_TRY(judge_hardware(work, &key));
    else if (work->certificate)
        CR_TRY(judge_certificate(work, &key));
    CR_TRY(cr_found(a, "pcr_digest", check_digest(work), &digest));
    a->signature_valid = signature && key && digest;
    if (work->grounds->event_log.size > 0) CR_TRY(judge_event_log(work));
    return judge_policy(work);
}

enum cr_status cr_appraise_tpm(struct cr_slice text, const struct cr_grounds *grounds,
                               struct cr_appraisal *out)
{
    struct work work = {.grounds = grounds, .appraisal = out};
    enum cr_status status = parse(text, &work);
    status = status == CR_OK ? judge(&work) : cr_found(out, "format", status, NULL);
    cr_buffer_release(&work.message);
    cr_buffer_release(&work.signature);
    return status;
}
