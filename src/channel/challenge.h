// The two-way challenge of one connection, once both its certificates have verified: each end sends a nonce,
// answers the other's with evidence, and says that it admits what it was shown. One piece of evidence from
// each end, which is kept and can be looked at again.
//
// Where the admission says so one end shows evidence alone: then the other answers with nothing.
//
// For connection.c, which sends and receives; no I/O here but the attester's and the endorsements' files.
#ifndef CARREL_CHANNEL_CHALLENGE_H
#define CARREL_CHANNEL_CHALLENGE_H

#include "channel/admission.h"
#include "channel/message.h"

// Of the connection, as this end has it.
struct cr_ends {
    struct cr_peer own, peer;
    unsigned char exporter[CR_TLS_EXPORTER_SIZE];
    const char *address; // the peer's; outlives the challenge
};

struct cr_challenge;

// Draws a nonce; `now` (seconds, cr_clock_monotonic) is when the peer's time begins.
enum cr_status cr_challenge_new(const struct cr_admission *admission, const struct cr_ends *ends, double now,
                                struct cr_challenge **out);
void cr_challenge_free(struct cr_challenge *challenge); // NULL is allowed

// The message that this end begins with.
void cr_challenge_ask(const struct cr_challenge *challenge, struct cr_message *out);

// Takes a Challenge, Evidence or Admitted of the peer's, each of which comes once and in this order. *answer
// is what to send, its slices the challenge's own; its type is 0 where there is nothing to send. A failure is
// the reason to refuse the peer.
enum cr_status cr_challenge_take(struct cr_challenge *challenge, const struct cr_message *message, double now,
                                 struct cr_message *answer);

// Both ends have admitted each other.
bool cr_challenge_done(const struct cr_challenge *challenge);

// CR_TIMEOUT where it is not done and the peer's time is over.
enum cr_status cr_challenge_check_time(const struct cr_challenge *challenge, double now);

// Looks at the kept evidence again, for a round (from 1) that is to begin: with the endorsements and the time
// as they are now.
enum cr_status cr_challenge_again(const struct cr_challenge *challenge, uint64_t round);

#endif
