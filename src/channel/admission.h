// Whom one end of a connection lets in: by what evidence, against which policy. And what it shows of itself.
#ifndef CARREL_CHANNEL_ADMISSION_H
#define CARREL_CHANNEL_ADMISSION_H

#include "attestation/appraise.h"
#include "attestation/attester.h"
#include "channel/binding.h"
#include "channel/tls.h"

// What came of one look at a peer's evidence.
struct cr_appraised {
    const struct cr_peer *peer;
    const char *address;
    uint64_t round;                       // that was to begin, counted from 1; 0: the connection itself
    int64_t time;                         // that evidence was appraised for, seconds since 1970
    struct cr_slice bytes;                // of the evidence as it came
    const struct cr_evidence *evidence;   // NULL where none could be found in them
    const struct cr_appraisal *appraisal; // NULL where it was refused before it came so far
    const char *refusal;                  // NULL: the peer is admitted
};

// Shared by all connections of a process; outlives them.
struct cr_admission {
    // Whether this end shows evidence, and whether it asks for the peer's. The peer has it the other way
    // round.
    bool shows, demands;
    enum cr_attester attester; // of this end
    const struct cr_attester_places *places;
    const struct cr_appraisal_policy *policy;
    const char *endorsements;          // directory or file, read anew for each appraisal; NULL: none
    unsigned char job[CR_SHA256_SIZE]; // what both ends must be there for
    double limit;                      // seconds that a peer has to show its evidence, and to admit ours
    int64_t (*clock)(void);            // seconds since 1970
    int64_t collateral_floor;          // as in struct cr_grounds
    int64_t time_floor;                // it is later than this, whatever a host has the clock say

    // Told of every appraisal before anything follows from it; a failure refuses the peer, whatever came of
    // it.
    enum cr_status (*appraised)(void *context, const struct cr_appraised *what);
    void *context;
};

// What a peer showed: cr_binding_write's bytes, and cr_attester_attest's.
struct cr_shown {
    struct cr_slice binding, evidence;
};

// One look at what a peer showed. CR_OK: it is admitted, by a policy that affirms it, or that says
// allow_development of evidence that proves nothing. CR_DENIED or CR_PROTOCOL, with the reason: it is not.
// Any other failure kept this end from looking, or from writing down what came of it: it is not either.
enum cr_status cr_admission_judge(const struct cr_admission *admission, const struct cr_shown *shown,
                                  const struct cr_binding *expected, const struct cr_binding *own,
                                  const struct cr_peer *peer, const char *address, uint64_t round);

#endif
