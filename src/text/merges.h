// Learns the merges of byte-pair encoding from counted words. Pair counts are updated after each merge, so
// the work is proportional to the words that each merge changes.
#ifndef CARREL_TEXT_MERGES_H
#define CARREL_TEXT_MERGES_H

#include "text/vocabulary.h"

struct cr_merge {
    uint32_t left, right;
};

// Zero-initialise; release with cr_merges_release.
struct cr_merges {
    struct cr_vocabulary tokens; // as bytes; the first 256 are the single bytes, in byte-level order
    struct cr_merge *items;
    size_t count, capacity;
};

// Word i of `words` (bytes) occurs counts[i] times. Repeatedly merges the most frequent pair (of equal ones,
// the greater pair of byte strings) until there are `wanted` tokens or no pair is left. Two merges may give
// the same token.
enum cr_status cr_merges_learn(const struct cr_vocabulary *words, const uint64_t *counts, size_t wanted,
                               struct cr_merges *out);
void cr_merges_release(struct cr_merges *merges);

#endif
