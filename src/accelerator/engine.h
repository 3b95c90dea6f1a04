// An engine computes products for trusted processes, from the frozen model's integer matrices in whatever
// form suits it.
#ifndef CARREL_ACCELERATOR_ENGINE_H
#define CARREL_ACCELERATOR_ENGINE_H

#include "field/wire.h"
#include "model/frozen.h"

struct cr_engine;

struct cr_engine_kind {
    // `frozen` and its model must outlive the engine.
    enum cr_status (*open)(const struct cr_frozen *frozen, struct cr_compute *compute,
                           struct cr_engine **out);
    // Computes answer [rows, parts, N] from question [rows, K], mod p: x Qᵀ, or x Q backward, minus the words
    // in `pads` if the product asks for that (wire.h). The other process may change words meanwhile, and
    // words may be p or more; the answer then means nothing. One call at a time.
    enum cr_status (*multiply)(struct cr_engine *self, const struct cr_wire_product *product, unsigned digits,
                               const uint32_t *question, const uint32_t *pads, uint32_t *answer);
    void (*free)(struct cr_engine *self);
};

struct cr_engine {
    const struct cr_engine_kind *kind;
    const char *name; // "cpu vnni": device, and kind of multiplication
};

extern const struct cr_engine_kind cr_engine_cpu;

#endif
