// A store outside the trusted process's own memory for what a pass keeps for its backward pass
// (model/keep.h). Its content is sealed with AES-256-GCM under a key that is drawn here and never leaves the
// process.
//
// The memory outside stands for memory that an enclave's host can read and write at any time: shared pages,
// all allocated before the first step. Whoever reads them learns sizes and times. Changes are found before
// the changed data are used: each piece has a nonce that is never used again and is remembered in the
// process, so neither another slot's content nor an older content of the same slot is accepted.
#ifndef CARREL_SLICING_SPILL_H
#define CARREL_SLICING_SPILL_H

#include "base/thread.h"
#include "model/keep.h"

#include <stdint.h>

struct cr_spill;

// The work is divided among the threads of `pool` (borrowed).
enum cr_status cr_spill_new(struct cr_pool *pool, struct cr_spill **out);
void cr_spill_free(struct cr_spill *spill); // wipes the key; NULL is allowed

// For cr_pass_new; valid as long as `spill`. Reading fails with CR_DENIED if the memory outside was changed.
struct cr_keep *cr_spill_keep(struct cr_spill *spill);

struct cr_spill_tally {
    size_t outside;          // bytes of memory outside
    uint64_t sealed, opened; // bytes in total, before sealing
    double sealing, opening; // seconds
};
struct cr_spill_tally cr_spill_tally(const struct cr_spill *spill);

#endif
