#include "attestation/intel.h"
#include "attestation/judge.h"
#include "base/clock.h"

#include <string.h>

const unsigned char cr_intel_roots[CR_INTEL_ROOTS][CR_SHA256_SIZE] = {
    {0xa0, 0xaf, 0x03, 0x12, 0x89, 0xf5, 0xd5, 0xd4, 0x13, 0x2f, 0x91, 0x86, 0x06, 0x8a, 0x7f, 0xc1,
     0x36, 0x28, 0x63, 0x3b, 0xa2, 0x35, 0x77, 0x74, 0x72, 0xe2, 0x9b, 0x6b, 0x6c, 0x67, 0xa4, 0x9e},
};

static const char signer_name[] = "Intel SGX TCB Signing";

// Finds the certificates with the signers' name and a chain to the root.
static enum cr_status find_signers(struct cr_intel *intel)
{
    for (size_t p = 0; p < 2; p++) {
        const struct cr_x509_pool *pool = intel->sources.pools[p];
        for (size_t i = 0; i < cr_x509_pool_count(pool) && intel->signer_count < CR_INTEL_SIGNERS; i++) {
            char name[CR_X509_NAME_SIZE];
            cr_x509_common_name(cr_x509_pool_at(pool, i), name);
            if (strcmp(name, signer_name) != 0) continue;
            enum cr_status status = cr_chain_find(&intel->sources, cr_x509_pool_at(pool, i),
                                                  &intel->signers[intel->signer_count]);
            if (status == CR_OK)
                intel->signer_count++;
            else if (status != CR_DENIED)
                return status;
        }
    }
    return CR_OK;
}

enum cr_status cr_intel_open(const struct cr_grounds *grounds, struct cr_slice brought, struct cr_intel *out)
{
    CR_CLEANUP(cr_intel_close) struct cr_intel intel = {.grounds = grounds};
    size_t found = 0;
    CR_TRY(cr_x509_pool_new(&intel.brought));
    CR_TRY(cr_x509_pool_add(intel.brought, brought, &found));
    CR_TRY(cr_judge_sources(grounds, intel.brought, cr_intel_roots, CR_INTEL_ROOTS, &intel.sources));
    CR_TRY(find_signers(&intel));
    *out = intel;
    intel = (struct cr_intel){0};
    return CR_OK;
}

void cr_intel_close(struct cr_intel *intel)
{
    cr_x509_pool_free(intel->brought);
    cr_chain_sources_release(&intel->sources);
    *intel = (struct cr_intel){0};
}

static bool is_good_at(const struct cr_statement *statement, int64_t time)
{
    return statement->issued <= time && time <= statement->next;
}

static bool is_better(const struct cr_statement *a, const struct cr_statement *b, int64_t time)
{
    if (is_good_at(a, time) != is_good_at(b, time)) return is_good_at(a, time);
    return a->evaluation != b->evaluation ? a->evaluation > b->evaluation : a->issued > b->issued;
}

static const struct cr_chain *signer_of(const struct cr_intel *intel, const struct cr_statement *statement)
{
    struct cr_slice signature = {statement->signature, sizeof statement->signature};
    for (size_t i = 0; i < intel->signer_count; i++)
        if (cr_x509_verify(intel->signers[i].links[0], cr_buffer_slice(&statement->text), signature) == CR_OK)
            return &intel->signers[i];
    return NULL;
}

static const char *const kind_names[] = {[CR_TCB_INFO_SGX] = "TCB info for SGX",
                                         [CR_TCB_INFO_TDX] = "TCB info for TDX",
                                         [CR_QE_IDENTITY] = "identity of the QE",
                                         [CR_TD_QE_IDENTITY] = "identity of the TD QE"};

enum cr_status cr_intel_find(const struct cr_intel *intel, enum cr_statement_kind kind,
                             const struct cr_pck *pck, const struct cr_statement **statement,
                             const struct cr_chain **signer)
{
    const struct cr_statement *best = NULL;
    const struct cr_chain *best_signer = NULL;
    size_t unsigned_count = 0;
    for (size_t i = 0; i < intel->grounds->endorsements->count; i++) {
        const struct cr_statement *one = &intel->grounds->endorsements->statements[i];
        if (one->kind != kind || (pck && !cr_tcb_info_is_for(one->body, pck))) continue;
        if (best && !is_better(one, best, intel->grounds->time)) continue;
        const struct cr_chain *its_signer = signer_of(intel, one);
        if (its_signer) {
            best = one;
            best_signer = its_signer;
        } else {
            unsigned_count++;
        }
    }
    if (best) {
        *statement = best;
        *signer = best_signer;
        return CR_OK;
    }
    char platform[2 * CR_FMSPC_SIZE + sizeof " and FMSPC "] = "";
    if (pck) {
        strcpy(platform, " and FMSPC ");
        cr_hex_encode((struct cr_slice){pck->fmspc, CR_FMSPC_SIZE}, platform + strlen(platform));
    }
    if (unsigned_count > 0 && intel->signer_count == 0)
        return cr_fail(CR_DENIED,
                       "%s%s: no \"%s\" certificate with a chain to a trusted root is among the endorsements",
                       kind_names[kind], platform, signer_name);
    if (unsigned_count > 0)
        return cr_fail(CR_DENIED, "%s%s: the signature over it does not verify", kind_names[kind], platform);
    return cr_fail(CR_DENIED, "%s%s: none is among the endorsements", kind_names[kind], platform);
}

// Intel renews a signer's certificate with the same key, so one that begins after the time stands for an
// earlier one; only its end counts.
enum cr_status cr_intel_judge_time(const struct cr_intel *intel, struct cr_appraisal *appraisal,
                                   const char *check, const struct cr_statement *statement,
                                   const struct cr_chain *signer)
{
    int64_t begins, ends, time = intel->grounds->time;
    bool allowed = intel->grounds->policy->allow_expired_collateral;
    enum cr_status status = cr_x509_validity(signer->links[0], &begins, &ends);
    if (status != CR_OK) return cr_found(appraisal, check, status, NULL);
    char when[CR_CLOCK_TEXT_SIZE];
    // Checked first: no line of a policy overrides the job's floor, whether expired or not.
    cr_clock_format(statement->issued, when);
    if (statement->issued < intel->grounds->collateral_floor)
        return cr_found_wrong(appraisal, check, NULL, false, "issued at %s, earlier than the job asks for",
                              when);
    cr_clock_format(ends, when);
    if (time > ends)
        return cr_found_wrong(appraisal, check, "allow_expired_collateral", allowed,
                              "expired: its signer's certificate ended at %s", when);
    cr_clock_format(statement->next, when);
    if (time > statement->next)
        return cr_found_wrong(appraisal, check, "allow_expired_collateral", allowed,
                              "expired: a newer one was due at %s", when);
    cr_clock_format(statement->issued, when);
    if (time < statement->issued)
        return cr_found_wrong(appraisal, check, "allow_expired_collateral", allowed, "issued only at %s",
                              when);
    return cr_found_passed(appraisal, check);
}
