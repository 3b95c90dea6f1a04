#include "attestation/amd.h"
#include "attestation/appraise.h"
#include "attestation/collateral.h"
#include "attestation/hcl.h"
#include "attestation/judge.h"
#include "crypto/chain.h"

#include <inttypes.h>
#include <stdio.h>

enum { TURIN_FAMILY = 0x1a };

// The state of one appraisal.
struct work {
    struct cr_snp_report report;
    struct cr_hcl hcl;
    bool in_hcl;
    const struct cr_grounds *grounds;
    struct cr_appraisal *appraisal;
    struct cr_chain_sources sources;
    // The key that signed the report or, if none did, the nearest candidate.
    const struct cr_x509 *certificate; // NULL where there is none
    struct cr_amd_key key;
    bool signature_good;
    struct cr_chain chain; // empty where there is none
};

static enum cr_status claim_version(struct cr_appraisal *a, const char *name, const uint8_t version[3])
{
    char text[16];
    snprintf(text, sizeof text, "%u.%u.%u", version[0], version[1], version[2]);
    return cr_claim_text(a, name, text);
}

static enum cr_status claim_word(struct cr_appraisal *a, const char *name, uint64_t word)
{
    char text[24];
    snprintf(text, sizeof text, "0x%" PRIx64, word);
    return cr_claim_text(a, name, text);
}

static enum cr_status claim_platform(struct cr_appraisal *a, const struct cr_snp_report *report,
                                     bool is_turin)
{
    CR_TRY(cr_claim_tcb(a, "reported_tcb", cr_snp_tcb_of(report->reported_tcb, is_turin), is_turin));
    CR_TRY(cr_claim_tcb(a, "current_tcb", cr_snp_tcb_of(report->current_tcb, is_turin), is_turin));
    CR_TRY(cr_claim_tcb(a, "committed_tcb", cr_snp_tcb_of(report->committed_tcb, is_turin), is_turin));
    CR_TRY(cr_claim_tcb(a, "launch_tcb", cr_snp_tcb_of(report->launch_tcb, is_turin), is_turin));
    CR_TRY(claim_version(a, "current_version", report->current));
    CR_TRY(claim_version(a, "committed_version", report->committed));
    CR_TRY(claim_word(a, "platform_info", report->platform_info));
    if (report->has_cpuid) {
        CR_TRY(cr_claim_number(a, "cpuid_family", report->cpuid_family));
        CR_TRY(cr_claim_number(a, "cpuid_model", report->cpuid_model));
        CR_TRY(cr_claim_number(a, "cpuid_stepping", report->cpuid_stepping));
    }
    if (report->has_mitigations) {
        CR_TRY(claim_word(a, "launch_mitigations", report->launch_mitigations));
        CR_TRY(claim_word(a, "current_mitigations", report->current_mitigations));
    }
    return cr_claim_hex(a, "chip_id", report->chip_id);
}

static enum cr_status claim_report(struct cr_appraisal *a, const struct cr_snp_report *report, bool is_turin)
{
    static const char *const keys[8] = {
        [CR_SNP_VCEK] = "vcek", [CR_SNP_VLEK] = "vlek", [CR_SNP_UNSIGNED] = "none"};
    const char *key = keys[report->signing_key];
    CR_TRY(cr_claim_text(a, "type", "snp"));
    CR_TRY(cr_claim_number(a, "report_version", report->version));
    CR_TRY(cr_claim_hex(a, "measurement", report->measurement));
    CR_TRY(cr_claim_hex(a, "host_data", report->host_data));
    CR_TRY(cr_claim_number(a, "vmpl", report->vmpl));
    CR_TRY(cr_claim_number(a, "guest_svn", report->guest_svn));
    CR_TRY(claim_word(a, "policy", report->policy));
    CR_TRY(cr_claim_bool(a, "policy_smt", report->policy & CR_SNP_POLICY_SMT));
    CR_TRY(cr_claim_bool(a, "policy_migration", report->policy & CR_SNP_POLICY_MIGRATE));
    CR_TRY(cr_claim_bool(a, "policy_single_socket", report->policy & CR_SNP_POLICY_SINGLE_SOCKET));
    CR_TRY(cr_claim_hex(a, "family_id", report->family_id));
    CR_TRY(cr_claim_hex(a, "image_id", report->image_id));
    CR_TRY(cr_claim_hex(a, "id_key_digest", report->id_key_digest));
    CR_TRY(cr_claim_bool(a, "author_key", report->author_key));
    CR_TRY(cr_claim_hex(a, "author_key_digest", report->author_key_digest));
    CR_TRY(cr_claim_hex(a, "report_id", report->report_id));
    CR_TRY(cr_claim_hex(a, "report_id_ma", report->report_id_ma));
    CR_TRY(cr_claim_text(a, "signing_key", key ? key : "reserved"));
    CR_TRY(cr_claim_bool(a, "chip_masked", report->chip_masked));
    CR_TRY(claim_platform(a, report, is_turin));
    CR_TRY(cr_claim_hex(a, "report_data", report->report_data));
    return report->trailing > 0 ? cr_claim_number(a, "trailing_bytes", report->trailing) : CR_OK;
}

static bool same_tcb(struct cr_snp_tcb a, struct cr_snp_tcb b)
{
    return a.fmc == b.fmc && a.bootloader == b.bootloader && a.tee == b.tee && a.snp == b.snp &&
           a.microcode == b.microcode;
}

// Whether the key could have signed the report, by the kind, chip and TCB in both.
static bool is_candidate(const struct cr_snp_report *report, const struct cr_amd_key *key)
{
    if (key->is_vlek != (report->signing_key == CR_SNP_VLEK)) return false;
    if (!same_tcb(key->tcb, cr_snp_tcb_of(report->reported_tcb, key->is_turin))) return false;
    return key->is_vlek || cr_slice_is_zero(report->chip_id) || cr_amd_key_is_of_chip(key, report->chip_id);
}

// Finds among the endorsements' certificates one whose key signed the report and that has a chain; else the
// one that comes nearest to that. Only certificates for the report's chip and TCB are considered.
static enum cr_status find_key(struct work *work)
{
    const struct cr_x509_pool *pool = work->grounds->endorsements->pool;
    for (size_t i = 0; i < cr_x509_pool_count(pool); i++) {
        const struct cr_x509 *one = cr_x509_pool_at(pool, i);
        struct cr_amd_key key;
        struct cr_chain chain = {0};
        if (!cr_amd_key_is_one(one) || cr_amd_key_parse(one, &key) != CR_OK ||
            !is_candidate(&work->report, &key))
            continue;
        bool good =
            cr_x509_verify(one, work->report.signed_part,
                           (struct cr_slice){work->report.signature, sizeof work->report.signature}) == CR_OK;
        enum cr_status status = cr_chain_find(&work->sources, one, &chain);
        if (status != CR_OK && status != CR_DENIED) return status;
        if (work->certificate &&
            2 * good + (chain.count > 0) <= 2 * work->signature_good + (work->chain.count > 0))
            continue;
        work->certificate = one;
        work->key = key;
        work->signature_good = good;
        work->chain = chain;
    }
    return CR_OK;
}

static enum cr_status check_signature(const struct work *work)
{
    const struct cr_snp_report *report = &work->report;
    if (report->signing_key == CR_SNP_UNSIGNED)
        return cr_fail(CR_DENIED, "SNP report: it says itself that no key signed it");
    if (report->signing_key > CR_SNP_VLEK)
        return cr_fail(CR_DENIED, "SNP report: signed by a key of kind %u (0, VCEK, and 1, VLEK, are known)",
                       report->signing_key);
    if (work->signature_good) return CR_OK;
    if (work->certificate)
        return cr_fail(CR_DENIED, "SNP report, by the certificate's key: the signature does not verify");
    if (report->signing_key == CR_SNP_VLEK)
        return cr_fail(CR_DENIED, "no VLEK certificate of the report's TCB is among the endorsements");
    char chip[17];
    cr_hex_encode((struct cr_slice){report->chip_id.data, 8}, chip);
    return cr_fail(CR_DENIED,
                   "no VCEK certificate of the report's chip (%s...) and TCB is among the endorsements",
                   chip);
}

static enum cr_status check_chain(const struct work *work)
{
    struct cr_chain chain;
    if (!work->certificate) return cr_fail(CR_DENIED, "there is no certificate of the report's key");
    if (work->chain.count > 0) return CR_OK;
    // Called again for its error message.
    return cr_fail_within(cr_chain_find(&work->sources, work->certificate, &chain),
                          "no chain from the certificate of the report's key to a trusted root");
}

// find_key has already made sure that the certificate is for this chip and TCB. A report may hide its chip's
// id if it says so.
static enum cr_status judge_chip(struct work *work)
{
    if (work->key.is_vlek || work->report.chip_masked || !cr_slice_is_zero(work->report.chip_id))
        return cr_found_passed(work->appraisal, "chip_and_tcb");
    return cr_found_wrong(work->appraisal, "chip_and_tcb", NULL, false,
                          "the report names no chip, and does not say that it was masked");
}

static enum cr_status judge_signatures(struct work *work)
{
    struct cr_appraisal *a = work->appraisal;
    bool signature, chain;
    CR_TRY(cr_found(a, "report_signature", check_signature(work), &signature));
    CR_TRY(cr_found(a, "key_chain", check_chain(work), &chain));
    a->signature_valid = signature && chain;
    if (!chain) return CR_OK;
    char name[CR_X509_NAME_SIZE];
    cr_x509_common_name(work->chain.links[work->chain.count - 1], name);
    CR_TRY(cr_claim_text(a, "key_root", name));
    if (work->key.product[0])
        CR_TRY(cr_claim_text(a, work->key.is_vlek ? "fleet" : "product", work->key.product));
    CR_TRY(judge_chip(work));
    CR_TRY(cr_judge_validity(a, "key_validity", &work->chain, work->grounds));
    return cr_judge_amd_revocation(a, &work->sources, &work->chain, work->grounds);
}

static enum cr_status judge_tcb(struct work *work, bool is_turin)
{
    struct cr_appraisal *a = work->appraisal;
    const struct cr_appraisal_policy *policy = work->grounds->policy;
    struct cr_snp_tcb tcb = cr_snp_tcb_of(work->report.reported_tcb, is_turin);
    bool asked = policy->snp.min_tcb.bootloader || policy->snp.min_tcb.tee || policy->snp.min_tcb.snp ||
                 policy->snp.min_tcb.microcode || policy->snp.min_tcb.fmc;
    bool reached = tcb.bootloader >= policy->snp.min_tcb.bootloader && tcb.tee >= policy->snp.min_tcb.tee &&
                   tcb.snp >= policy->snp.min_tcb.snp && tcb.microcode >= policy->snp.min_tcb.microcode &&
                   (!is_turin || tcb.fmc >= policy->snp.min_tcb.fmc);
    enum cr_tcb_status status = !asked ? CR_TCB_UNKNOWN : reached ? CR_TCB_UP_TO_DATE : CR_TCB_OUT_OF_DATE;
    a->tcb_status = cr_tcb_status_name(status);
    if (cr_appraisal_policy_allows_status(policy, a->tcb_status)) return cr_found_passed(a, "tcb_status");
    if (status == CR_TCB_UNKNOWN)
        return cr_found_unknown(a, "tcb_status", "allow_tcb_status", false,
                                "nothing says which TCB is new enough: the policy has no snp.min_tcb");
    return cr_found_wrong(a, "tcb_status", "allow_tcb_status", false,
                          "the platform is %s: its TCB is below the policy's snp.min_tcb", a->tcb_status);
}

static enum cr_status judge_guest(struct work *work)
{
    struct cr_appraisal *a = work->appraisal;
    const struct cr_appraisal_policy *policy = work->grounds->policy;
    const struct cr_snp_report *report = &work->report;
    a->debug = report->policy & CR_SNP_POLICY_DEBUG;
    if (a->debug)
        CR_TRY(cr_found_wrong(a, "debug", "allow_debug", policy->allow_debug,
                              "a guest whose policy allows debugging, with which its host can read it"));
    else
        CR_TRY(cr_found_passed(a, "debug"));
    if (report->policy & CR_SNP_POLICY_MIGRATE)
        CR_TRY(cr_found_wrong(a, "migration", "snp.allow_migration", policy->snp.allow_migration,
                              "a guest whose policy allows a migration agent"));
    else
        CR_TRY(cr_found_passed(a, "migration"));
    CR_TRY(cr_appraisal_policy_compare_number(a, "snp.vmpl", &policy->snp.vmpl, report->vmpl));
    return cr_appraisal_policy_compare_least(a, "snp.min_guest_svn", policy->snp.min_guest_svn,
                                             report->guest_svn);
}

static enum cr_status judge_program(struct work *work)
{
    struct cr_appraisal *a = work->appraisal;
    const struct cr_appraisal_policy *policy = work->grounds->policy;
    const struct cr_snp_report *report = &work->report;
    CR_TRY(cr_appraisal_policy_compare(a, "snp.measurement", &policy->snp.measurement, report->measurement));
    CR_TRY(cr_appraisal_policy_compare(a, "snp.host_data", &policy->snp.host_data, report->host_data));
    CR_TRY(cr_appraisal_policy_compare(a, "snp.id_key_digest", &policy->snp.id_key_digest,
                                       report->id_key_digest));
    CR_TRY(cr_appraisal_policy_compare(a, "snp.author_key_digest", &policy->snp.author_key_digest,
                                       report->author_key_digest));
    CR_TRY(cr_appraisal_policy_compare(a, "snp.chip_id", &policy->snp.chip_id, report->chip_id));
    if (policy->snp.measurement.count == 0)
        CR_TRY(cr_appraisal_policy_program_unknown(a, policy, "snp.measurement"));
    return cr_appraisal_policy_compare_report_data(a, policy, report->report_data);
}

static enum cr_status judge(struct work *work)
{
    struct cr_appraisal *a = work->appraisal;
    CR_TRY(find_key(work));
    bool is_turin = work->report.has_cpuid ? work->report.cpuid_family == TURIN_FAMILY : work->key.is_turin;
    CR_TRY(claim_report(a, &work->report, is_turin));
    CR_TRY(judge_signatures(work));
    CR_TRY(judge_tcb(work, is_turin));
    CR_TRY(judge_guest(work));
    if (work->in_hcl) {
        CR_TRY(cr_found(a, "runtime_data", cr_hcl_check(&work->hcl, work->report.report_data), NULL));
        CR_TRY(cr_claim_hex(a, "runtime_data", work->hcl.runtime_data));
    }
    return judge_program(work);
}

// Parses the report, either raw or wrapped by Azure's paravisor.
static enum cr_status parse(struct cr_slice bytes, struct work *work)
{
    work->in_hcl = cr_hcl_is_one(bytes);
    if (!work->in_hcl) return cr_snp_report_parse(bytes, &work->report);
    CR_TRY(cr_hcl_parse(bytes, &work->hcl));
    if (work->hcl.kind != CR_HCL_SNP) return cr_fail(CR_UNSUPPORTED, "HCL report: not of SNP");
    return cr_snp_report_parse(work->hcl.report, &work->report);
}

enum cr_status cr_appraise_report(struct cr_slice bytes, const struct cr_grounds *grounds,
                                  struct cr_appraisal *out)
{
    struct work work = {.grounds = grounds, .appraisal = out};
    enum cr_status status = parse(bytes, &work);
    if (status != CR_OK) return cr_found(out, "format", status, NULL);
    CR_TRY(cr_judge_sources(grounds, NULL, cr_amd_roots, CR_AMD_ROOTS, &work.sources));
    status = judge(&work);
    cr_chain_sources_release(&work.sources);
    return status;
}
