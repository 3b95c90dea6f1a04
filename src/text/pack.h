// Packing: decides which examples share a row of a batch.
//
// A pack's examples are stored one after the other, and attention keeps them apart, as all sequences of a
// batch.
#ifndef CARREL_TEXT_PACK_H
#define CARREL_TEXT_PACK_H

#include "text/dataset.h"

#include <stdint.h>

// Pack p holds examples items[start[p]] ... items[start[p + 1] − 1]. Zero-initialise; release with
// cr_packs_release (usable with CR_CLEANUP).
struct cr_packs {
    size_t count;
    size_t *start;   // [count + 1]
    uint32_t *items; // [examples]
};

void cr_packs_release(struct cr_packs *packs);

// Best fit decreasing (as TRL's "bfd"): in order of falling length, an example joins the pack in which it
// leaves the least room, or starts a new one. Lengths are 1 to `capacity`; examples of equal length keep
// their order, so that equal data give equal packs.
enum cr_status cr_packs_fit(const size_t *length, size_t examples, size_t capacity, struct cr_packs *out);

// The packs of a dataset: of at most `capacity` tokens or, without packing, one for each example.
enum cr_status cr_dataset_pack(const struct cr_dataset *data, bool packing, size_t capacity,
                               struct cr_packs *out);

#endif
