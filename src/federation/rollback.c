#include "federation/rollback.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static enum cr_status receipt_of(const struct cr_sealing_key *key, const struct cr_seen *seen,
                                 unsigned char out[CR_KEY_SIZE])
{
    char run[CR_SHA256_HEX_SIZE], start[CR_SHA256_HEX_SIZE], label[2 * CR_SHA256_HEX_SIZE + 64];
    cr_sha256_hex(seen->run, run);
    cr_sha256_hex(seen->start, start);
    snprintf(label, sizeof label, "carrel receipt %s %" PRIu64 " %s", run, seen->round, start);
    return cr_key_derive(key->key, label, out);
}

enum cr_status cr_seen_sign(const struct cr_sealing_key *key, struct cr_seen *seen)
{
    return receipt_of(key, seen, seen->receipt);
}

static bool same_start(const struct cr_seen *a, const struct cr_seen *b)
{
    return memcmp(a->start, b->start, CR_SHA256_SIZE) == 0;
}

enum cr_status cr_seen_follow(const struct cr_seen *kept, const struct cr_seen *told)
{
    if (told->round < kept->round)
        return cr_fail(CR_PROTOCOL,
                       "the server went back to an older state: it tells of round %" PRIu64
                       ", and round %" PRIu64 " had been told of",
                       told->round + 1, kept->round + 1);
    if (told->round == kept->round && !same_start(kept, told))
        return cr_fail(CR_PROTOCOL,
                       "the server went back to an older state: it begins round %" PRIu64
                       " with other values than it had begun it with",
                       told->round + 1);
    return CR_OK;
}

enum cr_status cr_seen_judge(const struct cr_sealing_key *key, const struct cr_seen *own,
                             const struct cr_seen *kept, const char *name)
{
    unsigned char receipt[CR_KEY_SIZE];
    CR_TRY(receipt_of(key, kept, receipt));
    bool genuine = cr_keys_equal(receipt, kept->receipt);
    cr_wipe(receipt, sizeof receipt);
    if (!genuine) return cr_fail(CR_DENIED, "%s shows a receipt that this server never gave", name);
    if (kept->round > own->round)
        return cr_fail(CR_INVALID,
                       "this server's state is an older one, before round %" PRIu64
                       ": %s was told of round %" PRIu64 " (put the newest state back; the run cannot go on "
                       "from this one)",
                       own->round + 1, name, kept->round + 1);
    if (kept->round == own->round && !same_start(own, kept))
        return cr_fail(CR_INVALID,
                       "this server's state is an older one: %s was told of other values for round %" PRIu64
                       " (put the newest state back; the run cannot go on from this one)",
                       name, own->round + 1);
    return CR_OK;
}
