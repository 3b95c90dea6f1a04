// A store for what a pass keeps for its way back (model/keep.h) outside of the trusted process's own memory,
// sealed: AES-256-GCM under a key that is drawn here and known to nobody else.
//
// The memory outside imitates what an enclave's host can read and write at any time: shared pages that are
// nobody's own, all there before the first step. Whoever reads them learns sizes and times. Whoever changes
// them is found before what he changed is used: every piece has a number of its own as its nonce, which never
// comes again and is remembered in here, so neither another slot's content nor an older one of the same slot
// passes.
#ifndef CARREL_SLICING_SPILL_H
#define CARREL_SLICING_SPILL_H

#include "base/thread.h"
#include "model/keep.h"

#include <stdint.h>

struct cr_spill;

// The threads of `pool` (borrowed) share the work.
enum cr_status cr_spill_new(struct cr_pool *pool, struct cr_spill **out);
void cr_spill_free(struct cr_spill *spill); // wipes the key; NULL is allowed

// For cr_pass_new; lives as long as the store. What was changed outside is CR_DENIED.
struct cr_keep *cr_spill_keep(struct cr_spill *spill);

struct cr_spill_tally {
    size_t outside;          // bytes of memory outside
    uint64_t sealed, opened; // bytes, of what was sealed
    double sealing, opening; // seconds
};
struct cr_spill_tally cr_spill_tally(const struct cr_spill *spill);

#endif
