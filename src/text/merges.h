// Learning the merges of byte-pair encoding from counted words: pair counts are kept up to date merge by
// merge, so that the work is in proportion to the words that each merge changes.
#ifndef CARREL_TEXT_MERGES_H
#define CARREL_TEXT_MERGES_H

#include "text/vocabulary.h"

struct cr_merge {
    uint32_t left, right;
};

// Zero-initialise; release with cr_merges_release.
struct cr_merges {
    struct cr_vocabulary tokens; // bytes; the first 256 are the single bytes, in byte-level order
    struct cr_merge *items;
    size_t count, capacity;
};

// Word i of `words` (bytes) occurs counts[i] times. Merges the most frequent pair, ties to the greater pair
// of byte strings, until there are `wanted` tokens or no pair is left. Two merges may make the same token.
enum cr_status cr_merges_learn(const struct cr_vocabulary *words, const uint64_t *counts, size_t wanted,
                               struct cr_merges *out);
void cr_merges_release(struct cr_merges *merges);

#endif
