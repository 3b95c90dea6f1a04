// Findings and claims shared by several kinds of evidence: about certificate chains and what they contain.
#ifndef CARREL_ATTESTATION_JUDGE_H
#define CARREL_ATTESTATION_JUDGE_H

#include "attestation/amd.h"
#include "attestation/appraise.h"
#include "attestation/pck.h"
#include "crypto/chain.h"

// Sets up where an appraisal searches for chains: the evidence's own certificates (`brought`, or NULL) and
// the endorsements, up to the roots that the policy trusts or, if it names none, to these `count`.
enum cr_status cr_judge_sources(const struct cr_grounds *grounds, const struct cr_x509_pool *brought,
                                const unsigned char (*roots)[CR_SHA256_SIZE], size_t count,
                                struct cr_chain_sources *out);

// Adds the finding whether every certificate of the chain is valid at the time.
enum cr_status cr_judge_validity(struct cr_appraisal *appraisal, const char *check,
                                 const struct cr_chain *chain, const struct cr_grounds *grounds);

// Adds the finding "revocation" for these chains together.
enum cr_status cr_judge_revocation(struct cr_appraisal *appraisal, const struct cr_chain_sources *sources,
                                   const struct cr_chain *const *chains, size_t count,
                                   const struct cr_grounds *grounds);

// The same for the chain of an AMD key: AMD's CRLs are issued by its root and cover the intermediate keys,
// not those of chips and fleets.
enum cr_status cr_judge_amd_revocation(struct cr_appraisal *appraisal, const struct cr_chain_sources *sources,
                                       const struct cr_chain *chain, const struct cr_grounds *grounds);

enum cr_status cr_claim_pck(struct cr_appraisal *appraisal, const struct cr_pck *pck);
enum cr_status cr_claim_tcb(struct cr_appraisal *appraisal, const char *key, struct cr_snp_tcb tcb,
                            bool is_turin);

#endif
