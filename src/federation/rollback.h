// Keeps a federation from being set back to an older state unnoticed. Sealed files show that they were
// changed, but not that they were replaced by older copies of themselves.
//
// Before a server announces a round and its start values to anybody, it stores them on disk. Each silo stores
// the newest announcement on its own disk before it acts on it, and refuses older ones. When a server has
// restarted, silos show it the announcements that they stored, and it does not continue from an older state.
// Each announcement comes with a receipt, by which only the server can recognise its own announcements later;
// so no silo can stop a server by inventing one.
#ifndef CARREL_FEDERATION_ROLLBACK_H
#define CARREL_FEDERATION_ROLLBACK_H

#include "crypto/seal.h"

// An announcement: a round of a run begins with these values or, after the last round, these are the result.
struct cr_seen {
    unsigned char run[CR_SHA256_SIZE];
    uint64_t round;
    unsigned char start[CR_SHA256_SIZE]; // digest of the values
    unsigned char receipt[CR_KEY_SIZE];
};

// Computes seen->receipt from the other members with the server's sealing key.
enum cr_status cr_seen_sign(const struct cr_sealing_key *key, struct cr_seen *seen);

// For a silo: fails with CR_PROTOCOL if the announcement `told` is older than `kept`, which is of the same
// run, or has other values for the same round.
enum cr_status cr_seen_follow(const struct cr_seen *kept, const struct cr_seen *told);

// For a server whose state is `own`: checks the announcement of the same run that the silo `name` stored.
// Fails with CR_DENIED if the server never made it, and with CR_INVALID if it did and its state is older than
// that.
enum cr_status cr_seen_judge(const struct cr_sealing_key *key, const struct cr_seen *own,
                             const struct cr_seen *kept, const char *name);

#endif
