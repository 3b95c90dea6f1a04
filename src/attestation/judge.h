// Findings about chains of certificates, whichever vendor's.
#ifndef CARREL_ATTESTATION_JUDGE_H
#define CARREL_ATTESTATION_JUDGE_H

#include "attestation/appraise.h"
#include "crypto/chain.h"

// The finding that every certificate of the chain is good at the time, or which is not.
enum cr_status cr_judge_validity(struct cr_appraisal *appraisal, const char *check,
                                 const struct cr_chain *chain, const struct cr_grounds *grounds);

// The finding "revocation" about these chains together.
enum cr_status cr_judge_revocation(struct cr_appraisal *appraisal, const struct cr_chain_sources *sources,
                                   const struct cr_chain *const *chains, size_t count,
                                   const struct cr_grounds *grounds);

#endif
