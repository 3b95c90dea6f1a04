#include "attestation/amd.h"
#include "attestation/appraise.h"
#include "attestation/intel.h"
#include "attestation/judge.h"

// The state of one appraisal.
struct work {
    const struct cr_x509 *certificate;
    const struct cr_grounds *grounds;
    struct cr_appraisal *appraisal;
    bool is_amd;
};

static enum cr_status claim_pck(struct cr_appraisal *a, const struct cr_x509 *certificate)
{
    struct cr_slice extension;
    struct cr_pck pck;
    if (!cr_x509_extension(certificate, CR_PCK_OID, &extension))
        return cr_found_wrong(a, "extension", NULL, false,
                              "neither a PCK certificate of Intel's nor a VCEK or VLEK of AMD's");
    enum cr_status status = cr_pck_parse(extension, &pck);
    CR_TRY(cr_found(a, "extension", status, NULL));
    return status == CR_OK ? cr_claim_pck(a, &pck) : CR_OK;
}

static enum cr_status claim_amd(struct cr_appraisal *a, const struct cr_x509 *certificate)
{
    struct cr_amd_key key;
    enum cr_status status = cr_amd_key_parse(certificate, &key);
    CR_TRY(cr_found(a, "extension", status, NULL));
    if (status != CR_OK) return CR_OK;
    if (key.product[0]) CR_TRY(cr_claim_text(a, key.is_vlek ? "fleet" : "product", key.product));
    CR_TRY(cr_claim_tcb(a, "tcb", key.tcb, key.is_turin));
    return key.is_vlek ? CR_OK : cr_claim_hex(a, "chip_id", key.chip_id);
}

static enum cr_status claim(struct work *work)
{
    struct cr_appraisal *a = work->appraisal;
    char name[CR_X509_NAME_SIZE];
    int64_t begins, ends;
    cr_x509_common_name(work->certificate, name);
    CR_TRY(cr_claim_text(a, "type", "certificate"));
    CR_TRY(cr_claim_text(a, "common_name", name));
    if (cr_x509_validity(work->certificate, &begins, &ends) == CR_OK) {
        CR_TRY(cr_claim_time(a, "not_before", begins));
        CR_TRY(cr_claim_time(a, "not_after", ends));
    }
    return work->is_amd ? claim_amd(a, work->certificate) : claim_pck(a, work->certificate);
}

static enum cr_status judge(struct work *work)
{
    struct cr_appraisal *a = work->appraisal;
    CR_CLEANUP(cr_chain_sources_release) struct cr_chain_sources sources = {0};
    struct cr_chain chain;
    CR_TRY(work->is_amd ? cr_judge_sources(work->grounds, NULL, cr_amd_roots, CR_AMD_ROOTS, &sources)
                        : cr_judge_sources(work->grounds, NULL, cr_intel_roots, CR_INTEL_ROOTS, &sources));
    CR_TRY(claim(work));
    enum cr_status status = cr_chain_find(&sources, work->certificate, &chain);
    if (status != CR_OK) status = cr_fail_within(status, "no chain from the certificate to a trusted root");
    CR_TRY(cr_found(a, "key_chain", status, &a->signature_valid));
    if (!a->signature_valid) return CR_OK;
    CR_TRY(cr_judge_validity(a, "key_validity", &chain, work->grounds));
    if (work->is_amd) return cr_judge_amd_revocation(a, &sources, &chain, work->grounds);
    const struct cr_chain *const chains[] = {&chain};
    return cr_judge_revocation(a, &sources, chains, 1, work->grounds);
}

enum cr_status cr_appraise_certificate(struct cr_slice der, const struct cr_grounds *grounds,
                                       struct cr_appraisal *out)
{
    struct work work = {.grounds = grounds, .appraisal = out};
    CR_CLEANUP(cr_x509_pool_release) struct cr_x509_pool *pool = NULL;
    size_t found = 0;
    CR_TRY(cr_x509_pool_new(&pool));
    CR_TRY(cr_x509_pool_add(pool, der, &found));
    if (cr_x509_pool_count(pool) != 1)
        return cr_found_wrong(out, "format", NULL, false, "certificate: it cannot be read");
    work.certificate = cr_x509_pool_at(pool, 0);
    work.is_amd = cr_amd_key_is_one(work.certificate);
    return judge(&work);
}
