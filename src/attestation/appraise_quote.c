#include "attestation/appraise.h"
#include "attestation/event_log.h"
#include "attestation/intel.h"
#include "attestation/judge.h"
#include "crypto/signature.h"
#include "format/json.h"

#include <string.h>

enum {
    SGX_DEBUG = 0x02,     // in the first byte of an enclave's attributes
    TD_UNTRUSTED = 0xff,  // the first byte of a TD's attributes: debug and reserved bits
    TD_MIGRATABLE = 0x20, // in the fourth byte
};

// The state of one appraisal.
struct work {
    struct cr_quote quote;
    struct cr_intel intel;
    const struct cr_grounds *grounds;
    struct cr_appraisal *appraisal;
    const struct cr_x509 *pck_certificate; // NULL where there is none
    struct cr_chain pck_chain;             // empty where there is none
    struct cr_pck pck;
    bool has_pck;
    const struct cr_chain *chains[3]; // revocation is checked: PCK, signers of TCB info and QE identity
    size_t chain_count;
};

static enum cr_status claim_sgx(struct cr_appraisal *a, const struct cr_sgx_report *sgx)
{
    CR_TRY(cr_claim_hex(a, "mrenclave", sgx->mrenclave));
    CR_TRY(cr_claim_hex(a, "mrsigner", sgx->mrsigner));
    CR_TRY(cr_claim_number(a, "isv_prod_id", sgx->isv_prod_id));
    CR_TRY(cr_claim_number(a, "isv_svn", sgx->isv_svn));
    CR_TRY(cr_claim_hex(a, "attributes", sgx->attributes));
    CR_TRY(cr_claim_number(a, "miscselect", sgx->miscselect));
    CR_TRY(cr_claim_hex(a, "cpu_svn", sgx->cpu_svn));
    CR_TRY(cr_claim_hex(a, "isv_ext_prod_id", sgx->isv_ext_prod_id));
    CR_TRY(cr_claim_hex(a, "isv_family_id", sgx->isv_family_id));
    CR_TRY(cr_claim_hex(a, "config_id", sgx->config_id));
    CR_TRY(cr_claim_number(a, "config_svn", sgx->config_svn));
    return cr_claim_hex(a, "report_data", sgx->report_data);
}

static enum cr_status claim_td(struct cr_appraisal *a, const struct cr_td_report *td)
{
    static const char *const rtmr[] = {"rtmr0", "rtmr1", "rtmr2", "rtmr3"};
    CR_TRY(cr_claim_hex(a, "mrtd", td->mrtd));
    for (size_t i = 0; i < 4; i++) CR_TRY(cr_claim_hex(a, rtmr[i], td->rtmr[i]));
    CR_TRY(cr_claim_hex(a, "td_attributes", td->td_attributes));
    CR_TRY(cr_claim_hex(a, "xfam", td->xfam));
    CR_TRY(cr_claim_hex(a, "mrconfigid", td->mrconfigid));
    CR_TRY(cr_claim_hex(a, "mrowner", td->mrowner));
    CR_TRY(cr_claim_hex(a, "mrownerconfig", td->mrownerconfig));
    CR_TRY(cr_claim_hex(a, "tee_tcb_svn", td->tee_tcb_svn));
    CR_TRY(cr_claim_hex(a, "mrseam", td->mrseam));
    CR_TRY(cr_claim_hex(a, "mrsignerseam", td->mrsignerseam));
    CR_TRY(cr_claim_hex(a, "seam_attributes", td->seam_attributes));
    if (td->mrservicetd.size > 0) {
        CR_TRY(cr_claim_hex(a, "tee_tcb_svn_2", td->tee_tcb_svn_2));
        CR_TRY(cr_claim_hex(a, "mrservicetd", td->mrservicetd));
    }
    return cr_claim_hex(a, "report_data", td->report_data);
}

static enum cr_status claim_quote(struct cr_appraisal *a, const struct cr_quote *quote)
{
    CR_TRY(cr_claim_text(a, "type", quote->is_td ? "tdx" : "sgx"));
    CR_TRY(cr_claim_number(a, "quote_version", quote->version));
    CR_TRY(quote->is_td ? claim_td(a, &quote->td) : claim_sgx(a, &quote->sgx));
    CR_TRY(cr_claim_hex(a, "user_data", quote->user_data));
    CR_TRY(cr_claim_hex(a, "qe_mrenclave", quote->qe.mrenclave));
    CR_TRY(cr_claim_hex(a, "qe_mrsigner", quote->qe.mrsigner));
    CR_TRY(cr_claim_number(a, "qe_isv_prod_id", quote->qe.isv_prod_id));
    CR_TRY(cr_claim_number(a, "qe_isv_svn", quote->qe.isv_svn));
    CR_TRY(cr_claim_number(a, "certification_type", quote->certification));
    return quote->trailing > 0 ? cr_claim_number(a, "trailing_bytes", quote->trailing) : CR_OK;
}

// The PCK certificate: the quote's own or, if it contains none, the one among the endorsements whose key
// signed the QE's report.
static const struct cr_x509 *find_pck_certificate(const struct work *work)
{
    bool own = work->quote.certification >= CR_CERTIFIED_BY_LEAF;
    const struct cr_x509_pool *pool = work->intel.sources.pools[own ? 0 : 1];
    for (size_t i = 0; i < cr_x509_pool_count(pool); i++) {
        const struct cr_x509 *one = cr_x509_pool_at(pool, i);
        struct cr_slice extension;
        if (!cr_x509_extension(one, CR_PCK_OID, &extension)) continue;
        if (own || cr_x509_verify(one, work->quote.qe.whole, work->quote.qe_signature) == CR_OK) return one;
    }
    return NULL;
}

// Checks that the attestation key belongs to the QE: the QE's report data is the hash of the key and of the
// QE's authentication data.
static enum cr_status check_key(const struct cr_quote *quote)
{
    unsigned char wanted[64] = {0};
    CR_CLEANUP(cr_buffer_release) struct cr_buffer hashed = {0};
    CR_TRY(cr_append(&hashed, quote->key.data, quote->key.size));
    CR_TRY(cr_append(&hashed, quote->qe_auth.data, quote->qe_auth.size));
    CR_TRY(cr_sha256(cr_buffer_slice(&hashed), wanted));
    if (memcmp(wanted, quote->qe.report_data.data, sizeof wanted) != 0)
        return cr_fail(CR_DENIED,
                       "the quoting enclave does not vouch for the attestation key (the hash of key and "
                       "authentication data is not in its report)");
    return CR_OK;
}

static enum cr_status check_quote_signature(const struct cr_quote *quote)
{
    enum cr_status status = cr_ecdsa_verify(quote->key, quote->signed_part, quote->signature);
    return status == CR_OK ? CR_OK : cr_fail_within(status, "quote, by its attestation key");
}

static enum cr_status check_qe_signature(const struct work *work)
{
    if (!work->pck_certificate)
        return cr_fail(CR_DENIED, "no PCK certificate comes with the quote%s",
                       work->quote.certification >= CR_CERTIFIED_BY_LEAF
                           ? ""
                           : ", and none among the endorsements has the key that signed the QE's report");
    enum cr_status status =
        cr_x509_verify(work->pck_certificate, work->quote.qe.whole, work->quote.qe_signature);
    return status == CR_OK ? CR_OK : cr_fail_within(status, "QE's report, by the PCK certificate's key");
}

static enum cr_status find_pck_chain(struct work *work)
{
    if (!work->pck_certificate) return cr_fail(CR_DENIED, "there is no PCK certificate");
    enum cr_status status = cr_chain_find(&work->intel.sources, work->pck_certificate, &work->pck_chain);
    return status == CR_OK ? CR_OK
                           : cr_fail_within(status, "no chain from the PCK certificate to a trusted root");
}

static void ask_revocation_of(struct work *work, const struct cr_chain *chain)
{
    for (size_t i = 0; i < work->chain_count; i++)
        if (work->chains[i] == chain) return;
    work->chains[work->chain_count++] = chain;
}

// Checks the signatures from the quote up to the root.
static enum cr_status judge_signatures(struct work *work)
{
    struct cr_appraisal *a = work->appraisal;
    bool quote, qe, key, chain;
    work->pck_certificate = find_pck_certificate(work);
    CR_TRY(cr_found(a, "quote_signature", check_quote_signature(&work->quote), &quote));
    CR_TRY(cr_found(a, "attestation_key", check_key(&work->quote), &key));
    CR_TRY(cr_found(a, "qe_report_signature", check_qe_signature(work), &qe));
    CR_TRY(cr_found(a, "pck_chain", find_pck_chain(work), &chain));
    a->signature_valid = quote && qe && key && chain;
    if (!chain) return CR_OK;
    ask_revocation_of(work, &work->pck_chain);
    return cr_judge_validity(a, "pck_validity", &work->pck_chain, work->grounds);
}

static enum cr_status read_pck(struct work *work)
{
    struct cr_slice extension;
    if (!work->pck_certificate || !cr_x509_extension(work->pck_certificate, CR_PCK_OID, &extension))
        return CR_OK;
    enum cr_status status = cr_pck_parse(extension, &work->pck);
    if (status != CR_OK) return cr_found(work->appraisal, "pck_extension", status, NULL);
    work->has_pck = true;
    return cr_claim_pck(work->appraisal, &work->pck);
}

static enum cr_status claim_advisories(struct cr_appraisal *a, const struct cr_json *advisories)
{
    CR_CLEANUP(cr_buffer_release) struct cr_buffer words = {0};
    for (size_t i = 0; i < cr_json_count(advisories); i++) {
        struct cr_slice id = cr_json_string(cr_json_at(advisories, i));
        if (id.size == 0) continue;
        CR_TRY(cr_append_format(&words, "%s%s", words.size > 0 ? ", " : "", (const char *)id.data));
    }
    return words.size > 0 ? cr_claim_list(a, "advisories", cr_buffer_text(&words)) : CR_OK;
}

// The TCB info's part: *status is the platform's status, combined with that of its TDX module.
static enum cr_status judge_tcb_info(struct work *work, enum cr_tcb_status *status, bool *known)
{
    struct cr_appraisal *a = work->appraisal;
    const struct cr_td_report *td = work->quote.is_td ? &work->quote.td : NULL;
    const struct cr_statement *info;
    const struct cr_chain *signer;
    struct cr_tcb_level level, module;
    bool good;
    enum cr_status found =
        cr_intel_find(&work->intel, td ? CR_TCB_INFO_TDX : CR_TCB_INFO_SGX, &work->pck, &info, &signer);
    if (found == CR_OK) found = cr_tcb_info_level(info->body, &work->pck, td, &level);
    if (found != CR_OK) return cr_found(a, "tcb_info", found, NULL);
    ask_revocation_of(work, signer);
    CR_TRY(cr_intel_judge_time(&work->intel, a, "tcb_info", info, signer));
    CR_TRY(cr_claim_time(a, "tcb_info_issued", info->issued));
    CR_TRY(cr_claim_time(a, "tcb_info_next", info->next));
    CR_TRY(cr_claim_number(a, "tcb_evaluation_data_number", info->evaluation));
    CR_TRY(cr_claim_text(a, "platform_tcb_status", cr_tcb_status_name(level.status)));
    if (level.date) CR_TRY(cr_claim_text(a, "platform_tcb_date", level.date));
    CR_TRY(claim_advisories(a, level.advisories));
    *status = level.status;
    *known = true;
    if (!td) return CR_OK;
    CR_TRY(cr_found(a, "tdx_module", cr_tdx_module_level(info->body, td, &module), &good));
    if (!good) return CR_OK;
    CR_TRY(cr_claim_text(a, "tdx_module_tcb_status", cr_tcb_status_name(module.status)));
    *status = cr_tcb_status_with(level.status, module.status);
    return CR_OK;
}

static enum cr_status judge_qe(struct work *work, enum cr_tcb_status *status)
{
    struct cr_appraisal *a = work->appraisal;
    const struct cr_statement *identity;
    const struct cr_chain *signer;
    struct cr_tcb_level level;
    enum cr_status found = cr_intel_find(&work->intel, work->quote.is_td ? CR_TD_QE_IDENTITY : CR_QE_IDENTITY,
                                         NULL, &identity, &signer);
    if (found == CR_OK) found = cr_qe_identity_level(identity->body, &work->quote.qe, &level);
    if (found != CR_OK) return cr_found(a, "qe_identity", found, NULL);
    ask_revocation_of(work, signer);
    CR_TRY(cr_intel_judge_time(&work->intel, a, "qe_identity", identity, signer));
    CR_TRY(cr_claim_text(a, "qe_tcb_status", cr_tcb_status_name(level.status)));
    *status = cr_tcb_status_with(*status, level.status);
    return CR_OK;
}

static enum cr_status judge_platform(struct work *work)
{
    enum cr_tcb_status status = CR_TCB_UP_TO_DATE;
    bool known = false;
    if (!work->has_pck) return CR_OK; // there already is a finding
    CR_TRY(judge_tcb_info(work, &status, &known));
    CR_TRY(judge_qe(work, &status));
    if (!known) return CR_OK;
    const char *name = cr_tcb_status_name(status);
    work->appraisal->tcb_status = name;
    if (cr_appraisal_policy_allows_status(work->grounds->policy, name))
        return cr_found_passed(work->appraisal, "tcb_status");
    return cr_found_wrong(work->appraisal, "tcb_status", "allow_tcb_status", false, "the platform is %s",
                          name);
}

static enum cr_status judge_debug(struct work *work)
{
    const struct cr_quote *quote = &work->quote;
    work->appraisal->debug = quote->is_td ? (quote->td.td_attributes.data[0] & TD_UNTRUSTED) != 0
                                          : (quote->sgx.attributes.data[0] & SGX_DEBUG) != 0;
    if (!work->appraisal->debug) return cr_found_passed(work->appraisal, "debug");
    return cr_found_wrong(work->appraisal, "debug", "allow_debug", work->grounds->policy->allow_debug,
                          "%s in debug mode, which its host can read", quote->is_td ? "a TD" : "an enclave");
}

static enum cr_status judge_migration(struct work *work)
{
    if (!(work->quote.td.td_attributes.data[3] & TD_MIGRATABLE))
        return cr_found_passed(work->appraisal, "migration");
    return cr_found_wrong(work->appraisal, "migration", "tdx.allow_migration",
                          work->grounds->policy->tdx.allow_migration,
                          "a TD that another TD may move to another machine");
}

// Adds a finding for each value that the policy lists. *asked: whether the policy identifies the program.
static enum cr_status judge_sgx_program(struct work *work, bool *asked)
{
    struct cr_appraisal *a = work->appraisal;
    const struct cr_appraisal_policy *policy = work->grounds->policy;
    const struct cr_sgx_report *sgx = &work->quote.sgx;
    CR_TRY(cr_appraisal_policy_compare(a, "sgx.mrenclave", &policy->sgx.mrenclave, sgx->mrenclave));
    CR_TRY(cr_appraisal_policy_compare(a, "sgx.mrsigner", &policy->sgx.mrsigner, sgx->mrsigner));
    CR_TRY(
        cr_appraisal_policy_compare_number(a, "sgx.isv_prod_id", &policy->sgx.isv_prod_id, sgx->isv_prod_id));
    CR_TRY(cr_appraisal_policy_compare_least(a, "sgx.min_isv_svn", policy->sgx.min_isv_svn, sgx->isv_svn));
    *asked = policy->sgx.mrenclave.count > 0 ||
             (policy->sgx.mrsigner.count > 0 && policy->sgx.isv_prod_id.count > 0);
    return CR_OK;
}

static enum cr_status judge_td_program(struct work *work, bool *asked)
{
    static const char *const rtmr[] = {"tdx.rtmr0", "tdx.rtmr1", "tdx.rtmr2", "tdx.rtmr3"};
    struct cr_appraisal *a = work->appraisal;
    const struct cr_appraisal_policy *policy = work->grounds->policy;
    const struct cr_td_report *td = &work->quote.td;
    CR_TRY(cr_appraisal_policy_compare(a, "tdx.mrtd", &policy->tdx.mrtd, td->mrtd));
    for (size_t i = 0; i < 4; i++)
        CR_TRY(cr_appraisal_policy_compare(a, rtmr[i], &policy->tdx.rtmr[i], td->rtmr[i]));
    CR_TRY(cr_appraisal_policy_compare(a, "tdx.mrconfigid", &policy->tdx.mrconfigid, td->mrconfigid));
    CR_TRY(cr_appraisal_policy_compare(a, "tdx.mrowner", &policy->tdx.mrowner, td->mrowner));
    CR_TRY(
        cr_appraisal_policy_compare(a, "tdx.mrownerconfig", &policy->tdx.mrownerconfig, td->mrownerconfig));
    *asked = policy->tdx.mrtd.count > 0 && policy->tdx.rtmr[0].count > 0 && policy->tdx.rtmr[1].count > 0 &&
             policy->tdx.rtmr[2].count > 0;
    return CR_OK;
}

static enum cr_status judge_program(struct work *work)
{
    bool asked = false;
    CR_TRY(work->quote.is_td ? judge_td_program(work, &asked) : judge_sgx_program(work, &asked));
    if (asked) return CR_OK;
    return cr_appraisal_policy_program_unknown(work->appraisal, work->grounds->policy,
                                               work->quote.is_td
                                                   ? "tdx.mrtd and tdx.rtmr0 to tdx.rtmr2"
                                                   : "sgx.mrenclave, or sgx.mrsigner and sgx.isv_prod_id");
}

static enum cr_status judge(struct work *work)
{
    CR_TRY(claim_quote(work->appraisal, &work->quote));
    CR_TRY(judge_signatures(work));
    CR_TRY(read_pck(work));
    CR_TRY(judge_platform(work));
    if (work->chain_count > 0)
        CR_TRY(cr_judge_revocation(work->appraisal, &work->intel.sources, work->chains, work->chain_count,
                                   work->grounds));
    CR_TRY(judge_debug(work));
    if (work->quote.is_td) CR_TRY(judge_migration(work));
    if (work->quote.is_td && work->grounds->event_log.size > 0)
        CR_TRY(cr_event_log_judge(work->appraisal, work->grounds->event_log, CR_TPM_SHA384,
                                  work->quote.td.rtmr, 4, 1));
    CR_TRY(judge_program(work));
    return cr_appraisal_policy_compare_report_data(work->appraisal, work->grounds->policy,
                                                   work->quote.is_td ? work->quote.td.report_data
                                                                     : work->quote.sgx.report_data);
}

enum cr_status cr_appraise_quote(struct cr_slice bytes, const struct cr_grounds *grounds,
                                 struct cr_appraisal *out)
{
    struct work work = {.grounds = grounds, .appraisal = out};
    enum cr_status status = cr_quote_parse(bytes, &work.quote);
    if (status != CR_OK) return cr_found(out, "format", status, NULL);
    struct cr_slice brought = {NULL, 0};
    if (work.quote.certification >= CR_CERTIFIED_BY_LEAF) brought = work.quote.certification_data;
    status = cr_intel_open(grounds, brought, &work.intel);
    if (status != CR_OK) return cr_found(out, "format", status, NULL);
    status = judge(&work);
    cr_intel_close(&work.intel);
    return status;
}
