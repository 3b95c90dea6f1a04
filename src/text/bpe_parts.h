// The internals of the BPE model, shared by the files that implement it.
#ifndef CARREL_TEXT_BPE_PARTS_H
#define CARREL_TEXT_BPE_PARTS_H

#include "text/bpe.h"

enum { CR_BPE_LOW_END = 0x800 }; // characters below are looked up in a table

struct cr_bpe_merge {
    uint64_t key;          // left id in the upper half, right id in the lower; UINT64_MAX: an empty slot
    uint32_t rank, result; // CR_NO_TOKEN: barred
};

// All pairs (last character of the left part, first character of the right part) of merges, as an
// open-addressing set of left << 32 | right (never 0, since no token contains character 0). Between two known
// characters whose pair is not in the set no merge is possible, so a piece may be cut there. This splits even
// a text without pre-tokenizer into short pieces.
struct cr_bpe_seams {
    uint64_t *slots;
    size_t count, slot_count;
};

struct cr_bpe {
    struct cr_vocabulary vocabulary;
    struct cr_bpe_seams seams;
    struct cr_bpe_merge *merges; // open addressing
    size_t merge_mask;           // slots - 1
    uint32_t low[CR_BPE_LOW_END];
    uint32_t byte[256]; // the ids of "<0x00>" to "<0xFF>", or CR_NO_TOKEN
    uint32_t unknown;   // or CR_NO_TOKEN
    bool byte_fallback, fuse_unknown, ignore_merges;
    bool *barred; // [vocabulary.limit], or NULL
};

// The slot of a pair of ids (left << 32 | right), or the empty slot where it belongs.
static inline size_t cr_bpe_merge_slot(const struct cr_bpe *bpe, uint64_t key)
{
    uint64_t hash = (key ^ key >> 31) * 0x9e3779b97f4a7c15u;
    size_t slot = (size_t)(hash >> 20) & bpe->merge_mask;
    while (bpe->merges[slot].key != key && bpe->merges[slot].key != UINT64_MAX)
        slot = (slot + 1) & bpe->merge_mask;
    return slot;
}

// The same for a pair of characters; slot_count must not be 0.
static inline uint64_t *cr_bpe_seam_slot(const struct cr_bpe_seams *seams, uint64_t key)
{
    size_t slot = (size_t)((key ^ key >> 27) * 0x9e3779b97f4a7c15u >> 30) & (seams->slot_count - 1);
    while (seams->slots[slot] != 0 && seams->slots[slot] != key) slot = (slot + 1) & (seams->slot_count - 1);
    return &seams->slots[slot];
}

#endif
