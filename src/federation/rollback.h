// That nobody sets a federation back unnoticed: sealed files show that they were changed, but not that they
// are older copies of themselves.
//
// A server has on disk that a round begins, and with which values, before it tells anybody. Each silo keeps
// the newest that it was told, on its own disk, before it acts on it, and takes no older one. A server that
// was restarted is shown what its silos keep and does not go on from less. Each such word of a server comes
// with a receipt by which it, and it alone, knows later that the word was its own: so no silo can stop a
// server by a lie.
#ifndef CARREL_FEDERATION_ROLLBACK_H
#define CARREL_FEDERATION_ROLLBACK_H

#include "crypto/seal.h"

// That a round of a run begins with these values; or, after the last one, that these are the result.
struct cr_seen {
    unsigned char run[CR_SHA256_SIZE];
    uint64_t round;
    unsigned char start[CR_SHA256_SIZE]; // digest of the values
    unsigned char receipt[CR_KEY_SIZE];
};

// Sets seen->receipt for the rest of it, by the server's sealing key.
enum cr_status cr_seen_sign(const struct cr_sealing_key *key, struct cr_seen *seen);

// For a silo: CR_PROTOCOL where the server's word is older than what was `kept` of the same run, or another
// for the same round.
enum cr_status cr_seen_follow(const struct cr_seen *kept, const struct cr_seen *told);

// For a server whose state is `own`: what the silo `name` keeps of the same run. CR_DENIED where that is not
// the server's word; CR_INVALID where it is, and the state is older than that.
enum cr_status cr_seen_judge(const struct cr_sealing_key *key, const struct cr_seen *own,
                             const struct cr_seen *kept, const char *name);

#endif
