// Chains of certificates up to a root that is known by its key, and what revocation lists say of them.
#ifndef CARREL_CRYPTO_CHAIN_H
#define CARREL_CRYPTO_CHAIN_H

#include "crypto/x509.h"

enum { CR_CHAIN_MOST = 6 };

struct cr_chain { // the certificate asked about first, the root last
    const struct cr_x509 *links[CR_CHAIN_MOST];
    size_t count;
};

// Where to look, and which roots count: SHA-256 of their keys (SubjectPublicKeyInfo, DER).
struct cr_chain_sources {
    const struct cr_x509_pool *pools[2];    // either may be NULL
    unsigned char (*roots)[CR_SHA256_SIZE]; // owned
    size_t root_count;
};
void cr_chain_sources_release(struct cr_chain_sources *sources); // usable with CR_CLEANUP

// Finds the chain and checks its signatures, key usages and constraints (RFC 5280), but no times and no
// revocations. CR_DENIED, saying why, where there is none.
enum cr_status cr_chain_find(const struct cr_chain_sources *sources, const struct cr_x509 *certificate,
                             struct cr_chain *out);

// What the CRLs of the pools say of a chain at a time. A list counts where the link's issuer signed it, and
// only where it was not issued before `floor`, but for what it has as revoked. A link is revoked where any of
// them, old ones too, has it as revoked before `time`.
enum cr_revocation {
    CR_NOT_REVOKED, // each issuer in the chain has a list that is good at the time, and none has the link
    CR_REVOKED,
    CR_LIST_EXPIRED, // the issuer's newest list has ended
    CR_LIST_OLD,     // the issuer's were all issued before `floor`
    CR_LIST_MISSING, // the issuer has none, or only of later
};
struct cr_revocation_answer {
    enum cr_revocation what;
    const struct cr_x509 *link; // of which this is said; NULL with CR_NOT_REVOKED
    int64_t when;               // when it was revoked, or the list ended, or was issued
};
enum cr_status cr_chain_revocation(const struct cr_chain_sources *sources, const struct cr_chain *chain,
                                   int64_t time, int64_t floor, struct cr_revocation_answer *out);

#endif
