// Packing: which examples share a row of a batch.
//
// A pack's examples lie one after the other and stay apart in attention, as all sequences of a batch do.
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

// Best fit, longest first (as TRL's "bfd"): an example joins the pack that it fills most, or begins one.
// Lengths are 1 to `capacity`; examples of equal length keep their order, so that equal data give equal
// packs.
enum cr_status cr_packs_fit(const size_t *length, size_t examples, size_t capacity, struct cr_packs *out);

// What a run over these examples goes by: packs of at most `capacity` tokens, or, without packing, each
// alone.
enum cr_status cr_dataset_pack(const struct cr_dataset *data, bool packing, size_t capacity,
                               struct cr_packs *out);

#endif
