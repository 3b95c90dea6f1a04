// The mutual challenge at the start of a connection, once both certificates have been verified: each end
// sends a nonce, answers the other's nonce with evidence, and says that it admits the other. Each end makes
// one piece of evidence, which the other keeps and can appraise again.
//
// If the admission says so, only one end shows evidence; the other then answers a challenge with nothing.
//
// For connection.c, which sends and receives. This code does no I/O but for the attester and for reading
// endorsements.
#ifndef CARREL_CHANNEL_CHALLENGE_H
#define CARREL_CHANNEL_CHALLENGE_H

#include "channel/admission.h"
#include "channel/message.h"

// Both ends of the connection, as this end knows them.
struct cr_ends {
    struct cr_peer own, peer;
    unsigned char exporter[CR_TLS_EXPORTER_SIZE];
    const char *address; // the peer's; must outlive the challenge
};

struct cr_challenge;

// Draws a nonce. `now` (seconds, cr_clock_monotonic) is when the peer's time limit begins.
enum cr_status cr_challenge_new(const struct cr_admission *admission, const struct cr_ends *ends, double now,
                                struct cr_challenge **out);
void cr_challenge_free(struct cr_challenge *challenge); // NULL is allowed

// Makes the message with which this end begins.
void cr_challenge_ask(const struct cr_challenge *challenge, struct cr_message *out);

// Processes a Challenge, Evidence or Admitted message from the peer; each comes once, in this order. *answer
// is the message to send; its slices point into the challenge, and its type is 0 if there is nothing to send.
// If this fails, the message is the reason to refuse the peer.
enum cr_status cr_challenge_take(struct cr_challenge *challenge, const struct cr_message *message, double now,
                                 struct cr_message *answer);

// Whether both ends have admitted each other.
bool cr_challenge_done(const struct cr_challenge *challenge);

// Fails with CR_TIMEOUT if the challenge is not done and the peer's time is over.
enum cr_status cr_challenge_check_time(const struct cr_challenge *challenge, double now);

// Appraises the kept evidence again before round `round` (from 1), with the current endorsements and time.
enum cr_status cr_challenge_again(const struct cr_challenge *challenge, uint64_t round);

#endif
