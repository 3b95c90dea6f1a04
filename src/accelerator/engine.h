// What computes products for a trusted process: an engine has the frozen model's integer matrices in the form
// that suits it.
#ifndef CARREL_ACCELERATOR_ENGINE_H
#define CARREL_ACCELERATOR_ENGINE_H

#include "field/wire.h"
#include "model/frozen.h"

struct cr_engine;

struct cr_engine_kind {
    // `frozen` and its model outlive the engine.
    enum cr_status (*open)(const struct cr_frozen *frozen, struct cr_compute *compute,
                           struct cr_engine **out);
    // answer [rows, parts, N] of question [rows, K]: x Qᵀ, or x Q backward, less what lies in `pads` where
    // the product says so (wire.h), mod p. Words may change meanwhile, and may be no numbers below p: then
    // the answer means nothing. One call at a time.
    enum cr_status (*multiply)(struct cr_engine *self, const struct cr_wire_product *product, unsigned digits,
                               const uint32_t *question, const uint32_t *pads, uint32_t *answer);
    void (*free)(struct cr_engine *self);
};

struct cr_engine {
    const struct cr_engine_kind *kind;
    const char *name; // "cpu vnni": what it is, and how it multiplies
};

extern const struct cr_engine_kind cr_engine_cpu;

#endif
