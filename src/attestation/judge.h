// Findings and claims that several kinds of evidence share: about chains of certificates, and what these say.
#ifndef CARREL_ATTESTATION_JUDGE_H
#define CARREL_ATTESTATION_JUDGE_H

#include "attestation/amd.h"
#include "attestation/appraise.h"
#include "attestation/pck.h"
#include "crypto/chain.h"

// Where an appraisal finds chains: among the certificates that its evidence brings (NULL: it brings none) and
// the endorsements, up to the roots that the policy trusts or, where it names none, these `count`.
enum cr_status cr_judge_sources(const struct cr_grounds *grounds, const struct cr_x509_pool *brought,
                                const unsigned char (*roots)[CR_SHA256_SIZE], size_t count,
                                struct cr_chain_sources *out);

// The finding that every certificate of the chain is good at the time, or which is not.
enum cr_status cr_judge_validity(struct cr_appraisal *appraisal, const char *check,
                                 const struct cr_chain *chain, const struct cr_grounds *grounds);

// The finding "revocation" about these chains together.
enum cr_status cr_judge_revocation(struct cr_appraisal *appraisal, const struct cr_chain_sources *sources,
                                   const struct cr_chain *const *chains, size_t count,
                                   const struct cr_grounds *grounds);

// The same about the chain of an AMD key: AMD's lists are of its root, and have the keys between it and those
// of chips and fleets.
enum cr_status cr_judge_amd_revocation(struct cr_appraisal *appraisal, const struct cr_chain_sources *sources,
                                       const struct cr_chain *chain, const struct cr_grounds *grounds);

enum cr_status cr_claim_pck(struct cr_appraisal *appraisal, const struct cr_pck *pck);
enum cr_status cr_claim_tcb(struct cr_appraisal *appraisal, const char *key, struct cr_snp_tcb tcb,
                            bool is_turin);

#endif
