// Intel's public-key infrastructure within one appraisal: chains to its root, and the statements it signs.
#ifndef CARREL_ATTESTATION_INTEL_H
#define CARREL_ATTESTATION_INTEL_H

#include "attestation/appraise.h"
#include "attestation/collateral.h"
#include "crypto/chain.h"

// SHA-256 of the key of "Intel SGX Root CA".
enum { CR_INTEL_ROOTS = 1, CR_INTEL_SIGNERS = 8 };
extern const unsigned char cr_intel_roots[CR_INTEL_ROOTS][CR_SHA256_SIZE];

struct cr_intel {
    const struct cr_grounds *grounds;
    struct cr_x509_pool *brought;              // the certificates that the evidence brings
    struct cr_chain_sources sources;           // the evidence's certificates and the endorsements
    struct cr_chain signers[CR_INTEL_SIGNERS]; // of TCB infos and QE identities
    size_t signer_count;
};

// `grounds` must outlive it. Adds PEM or DER that the evidence brings.
enum cr_status cr_intel_open(const struct cr_grounds *grounds, struct cr_slice brought, struct cr_intel *out);
void cr_intel_close(struct cr_intel *intel);

// The statement to go by: of this kind and, of a TCB info, for the platform (pck is not NULL), with Intel's
// signature; one that is good at the time before any other, and then the one of the latest evaluation.
// *signer is the chain of the key that signed it. CR_DENIED where there is none.
enum cr_status cr_intel_find(const struct cr_intel *intel, enum cr_statement_kind kind,
                             const struct cr_pck *pck, const struct cr_statement **statement,
                             const struct cr_chain **signer);

// The finding that the statement and its signer are good at the time, or why not.
enum cr_status cr_intel_judge_time(const struct cr_intel *intel, struct cr_appraisal *appraisal,
                                   const char *check, const struct cr_statement *statement,
                                   const struct cr_chain *signer);

#endif
