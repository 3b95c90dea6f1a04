// Certificate chains up to a root that is known by its key, and the revocation of their certificates.
#ifndef CARREL_CRYPTO_CHAIN_H
#define CARREL_CRYPTO_CHAIN_H

#include "crypto/x509.h"

enum { CR_CHAIN_MOST = 6 };

struct cr_chain { // from the certificate in question to the root
    const struct cr_x509 *links[CR_CHAIN_MOST];
    size_t count;
};

// Where to search for certificates, and the trusted roots: SHA-256 of their keys (SubjectPublicKeyInfo, DER).
struct cr_chain_sources {
    const struct cr_x509_pool *pools[2];    // borrowed; either may be NULL
    unsigned char (*roots)[CR_SHA256_SIZE]; // owned
    size_t root_count;
};
void cr_chain_sources_release(struct cr_chain_sources *sources); // usable with CR_CLEANUP

// Finds a chain and checks its signatures, key usages and constraints (RFC 5280), but neither validity in
// time nor revocation. CR_DENIED, with the reason, if there is none. *out borrows from the pools.
enum cr_status cr_chain_find(const struct cr_chain_sources *sources, const struct cr_x509 *certificate,
                             struct cr_chain *out);

// The revocation status of a chain at `time`, by the CRLs in the pools. A CRL counts if the link's issuer
// signed it and it was not issued before `floor`. A link is also revoked if an older CRL of its issuer says
// that it was revoked at `time` or before.
enum cr_revocation {
    CR_NOT_REVOKED, // for each link, its issuer has a CRL that is valid at `time`, and none revokes it
    CR_REVOKED,
    CR_LIST_EXPIRED, // the issuer's newest CRL has expired
    CR_LIST_OLD,     // the issuer's CRLs were all issued before `floor`
    CR_LIST_MISSING, // the issuer has no CRL, or only CRLs issued after `time`
};
struct cr_revocation_answer {
    enum cr_revocation what;
    const struct cr_x509 *link; // the link in question; NULL with CR_NOT_REVOKED
    int64_t when;               // when the link was revoked, or the CRL expired or was issued
};
enum cr_status cr_chain_revocation(const struct cr_chain_sources *sources, const struct cr_chain *chain,
                                   int64_t time, int64_t floor, struct cr_revocation_answer *out);

#endif
