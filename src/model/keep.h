// Where a pass stores what its layers keep for the backward pass, instead of in its own memory. model/ uses
// only this interface; what a store does with the bytes (slicing/spill.h seals them) is up to the store.
#ifndef CARREL_MODEL_KEEP_H
#define CARREL_MODEL_KEEP_H

#include "base/status.h"

#include <stddef.h>

enum { CR_KEEP_PARTS = 10 }; // of a slot, at most

struct cr_keep_part {
    void *bytes;
    size_t size;
};

// One store serves one pass.
struct cr_keep {
    // Makes room for `slots` slots of `size` bytes each; called once, when the pass is made.
    enum cr_status (*reserve)(struct cr_keep *self, size_t slots, size_t size);
    // Stores the content of these parts in the slot, in place of what it held. Does not change the parts.
    enum cr_status (*put)(struct cr_keep *self, size_t slot, const struct cr_keep_part *parts, size_t count);
    // Fills the parts, of the same sizes, with what was put last; on failure their content must not be used.
    enum cr_status (*get)(struct cr_keep *self, size_t slot, const struct cr_keep_part *parts, size_t count);
};

#endif
