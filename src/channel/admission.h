// Which peers one end of a connection admits (on what evidence, by which policy), and what evidence this end
// shows of itself.
#ifndef CARREL_CHANNEL_ADMISSION_H
#define CARREL_CHANNEL_ADMISSION_H

#include "attestation/appraise.h"
#include "attestation/attester.h"
#include "channel/binding.h"
#include "channel/tls.h"

// The outcome of one appraisal of a peer's evidence.
struct cr_appraised {
    const struct cr_peer *peer;
    const char *address;
    uint64_t round;                     // the round that was about to begin, from 1; 0: the connection itself
    int64_t time;                       // the time for which evidence was appraised, seconds since 1970
    struct cr_slice bytes;              // the evidence as received
    const struct cr_evidence *evidence; // NULL if `bytes` contain none
    const struct cr_appraisal *appraisal; // NULL if the evidence was refused before it was appraised
    const char *refusal;                  // NULL: the peer is admitted
};

// Shared by all connections of a process, and must outlive them.
struct cr_admission {
    // Whether this end shows evidence, and whether it demands the peer's. At the peer these two are swapped.
    bool shows, demands;
    enum cr_attester attester; // that makes this end's evidence
    const struct cr_attester_places *places;
    const struct cr_appraisal_policy *policy;
    const char *endorsements;          // directory or file, read anew for each appraisal; NULL: none
    unsigned char job[CR_SHA256_SIZE]; // digest of the job that both ends must have
    double limit;                      // seconds within which a peer must show its evidence and admit ours
    int64_t (*clock)(void);            // seconds since 1970
    int64_t collateral_floor;          // as in struct cr_grounds
    int64_t time_floor; // the time is never taken to be earlier than this, whatever the host's clock says

    // Called with every appraisal before it takes effect. If it fails, the peer is refused, whatever the
    // outcome.
    enum cr_status (*appraised)(void *context, const struct cr_appraised *what);
    void *context;
};

// What a peer showed: the bytes of cr_binding_write and of cr_attester_attest.
struct cr_shown {
    struct cr_slice binding, evidence;
};

// Appraises what a peer showed. CR_OK: it is admitted, because the policy affirms the evidence, or because
// the policy has allow_development and this is evidence of development, which proves nothing. CR_DENIED or
// CR_PROTOCOL: it is refused, for the reason in the message. Any other failure prevented the appraisal, or
// kept its outcome from being recorded; the peer is not admitted then either.
enum cr_status cr_admission_judge(const struct cr_admission *admission, const struct cr_shown *shown,
                                  const struct cr_binding *expected, const struct cr_binding *own,
                                  const struct cr_peer *peer, const char *address, uint64_t round);

#endif
