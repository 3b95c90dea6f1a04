#include "attestation/judge.h"
#include "base/clock.h"

#include <stdio.h>
#include <string.h>

enum cr_status cr_judge_sources(const struct cr_grounds *grounds, const struct cr_x509_pool *brought,
                                const unsigned char (*roots)[CR_SHA256_SIZE], size_t count,
                                struct cr_chain_sources *out)
{
    struct cr_chain_sources sources = {.pools = {brought, grounds->endorsements->pool}};
    CR_TRY(cr_appraisal_policy_roots(grounds->policy, roots, count, &sources.roots, &sources.root_count));
    *out = sources;
    return CR_OK;
}

enum cr_status cr_judge_revocation(struct cr_appraisal *appraisal, const struct cr_chain_sources *sources,
                                   const struct cr_chain *const *chains, size_t count,
                                   const struct cr_grounds *grounds)
{
    // The worst answer of all chains: a revoked key outweighs a missing list.
    struct cr_revocation_answer worst = {.what = CR_NOT_REVOKED};
    static const int weight[] = {[CR_NOT_REVOKED] = 0,
                                 [CR_LIST_MISSING] = 1,
                                 [CR_LIST_EXPIRED] = 2,
                                 [CR_LIST_OLD] = 3,
                                 [CR_REVOKED] = 4};
    for (size_t i = 0; i < count; i++) {
        struct cr_revocation_answer answer;
        CR_TRY(cr_chain_revocation(sources, chains[i], grounds->time, grounds->collateral_floor, &answer));
        if (weight[answer.what] > weight[worst.what]) worst = answer;
    }
    char name[CR_X509_NAME_SIZE] = "", when[CR_CLOCK_TEXT_SIZE];
    if (worst.link) cr_x509_common_name(worst.link, name);
    cr_clock_format(worst.when, when);
    const struct cr_appraisal_policy *policy = grounds->policy;
    switch (worst.what) {
    case CR_REVOKED:
        return cr_found_wrong(appraisal, "revocation", "allow_revoked", policy->allow_revoked,
                              "revoked: \"%s\" by its issuer at %s", name, when);
    case CR_LIST_EXPIRED:
        return cr_found_wrong(
            appraisal, "revocation", "allow_expired_collateral", policy->allow_expired_collateral,
            "expired: the newest list of revocations that could have \"%s\" ended at %s", name, when);
    case CR_LIST_OLD:
        return cr_found_wrong(
            appraisal, "revocation", NULL, false,
            "the newest list of revocations that could have \"%s\" is of %s, earlier than the "
            "job asks for",
            name, when);
    case CR_LIST_MISSING:
        return cr_found_unknown(appraisal, "revocation", "allow_missing_crl", policy->allow_missing_crl,
                                "no list of revocations that could have \"%s\" is among the endorsements",
                                name);
    case CR_NOT_REVOKED:
        break;
    }
    return cr_found_passed(appraisal, "revocation");
}

enum cr_status cr_judge_validity(struct cr_appraisal *appraisal, const char *check,
                                 const struct cr_chain *chain, const struct cr_grounds *grounds)
{
    for (size_t i = 0; i < chain->count; i++) {
        int64_t begins, ends;
        enum cr_status status = cr_x509_validity(chain->links[i], &begins, &ends);
        if (status != CR_OK) return cr_found(appraisal, check, status, NULL);
        if (grounds->time >= begins && grounds->time <= ends) continue;
        char name[CR_X509_NAME_SIZE], when[CR_CLOCK_TEXT_SIZE];
        cr_x509_common_name(chain->links[i], name);
        cr_clock_format(grounds->time > ends ? ends : begins, when);
        return cr_found_wrong(appraisal, check, "allow_expired_collateral",
                              grounds->policy->allow_expired_collateral, "the certificate \"%s\" %s %s", name,
                              grounds->time > ends ? "expired at" : "is good only from", when);
    }
    return cr_found_passed(appraisal, check);
}

enum cr_status cr_judge_amd_revocation(struct cr_appraisal *appraisal, const struct cr_chain_sources *sources,
                                       const struct cr_chain *chain, const struct cr_grounds *grounds)
{
    struct cr_chain above = {.count = chain->count - 1};
    memcpy(above.links, chain->links + 1, above.count * sizeof *above.links);
    const struct cr_chain *const chains[] = {&above};
    return cr_judge_revocation(appraisal, sources, chains, 1, grounds);
}

enum cr_status cr_claim_pck(struct cr_appraisal *appraisal, const struct cr_pck *pck)
{
    CR_TRY(cr_claim_hex(appraisal, "fmspc", (struct cr_slice){pck->fmspc, sizeof pck->fmspc}));
    CR_TRY(cr_claim_hex(appraisal, "pce_id", (struct cr_slice){pck->pce_id, sizeof pck->pce_id}));
    CR_TRY(cr_claim_hex(appraisal, "pck_tcb_components",
                        (struct cr_slice){pck->components, sizeof pck->components}));
    return cr_claim_number(appraisal, "pck_pce_svn", pck->pce_svn);
}

enum cr_status cr_claim_tcb(struct cr_appraisal *appraisal, const char *key, struct cr_snp_tcb tcb,
                            bool is_turin)
{
    char text[96];
    int length = is_turin ? snprintf(text, sizeof text, "fmc %u, ", tcb.fmc) : 0;
    snprintf(text + length, sizeof text - (size_t)length, "bootloader %u, tee %u, snp %u, microcode %u",
             tcb.bootloader, tcb.tee, tcb.snp, tcb.microcode);
    return cr_claim_text(appraisal, key, text);
}
