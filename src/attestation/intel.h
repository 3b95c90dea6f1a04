// Intel's certificates and signed statements in one appraisal: chains to Intel's root, and what they sign.
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
    struct cr_x509_pool *brought;              // the evidence's own certificates
    struct cr_chain_sources sources;           // the evidence's certificates and the endorsements
    struct cr_chain signers[CR_INTEL_SIGNERS]; // the chains of keys that sign TCB infos and QE identities
    size_t signer_count;
};

// `grounds` must outlive *out. `brought`: PEM or DER certificates that come with the evidence.
enum cr_status cr_intel_open(const struct cr_grounds *grounds, struct cr_slice brought, struct cr_intel *out);
void cr_intel_close(struct cr_intel *intel);

// Finds the statement to use: of this kind, for the platform if it is a TCB info (pck is not NULL), and with
// Intel's signature. One that is valid at the time is preferred, then the one of the latest evaluation.
// *signer is the chain of its signing key. CR_DENIED if there is none.
enum cr_status cr_intel_find(const struct cr_intel *intel, enum cr_statement_kind kind,
                             const struct cr_pck *pck, const struct cr_statement **statement,
                             const struct cr_chain **signer);

// Adds the finding whether the statement and its signer are valid at the time.
enum cr_status cr_intel_judge_time(const struct cr_intel *intel, struct cr_appraisal *appraisal,
                                   const char *check, const struct cr_statement *statement,
                                   const struct cr_chain *signer);

#endif
