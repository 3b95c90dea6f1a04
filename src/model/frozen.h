// The frozen base as whole numbers: what an accelerator multiplies with, and what a trusted process must know
// of it. Both make it from the same checkpoint and get the same numbers (field/quantize.h).
#ifndef CARREL_MODEL_FROZEN_H
#define CARREL_MODEL_FROZEN_H

#include "model/model.h"

struct cr_frozen {
    // qkv, o, gate_up and down of each layer, then the head, which is whole numbers here where it is tied
    // too: [count] I8 [out,in] with scales.
    struct cr_matrix *matrices;
    size_t count;
    uint64_t checksum;      // of all numbers and shapes (cr_quantized_checksum), not of the scales
    struct cr_arena memory; // a tied head's
};

// `model` is of cr_model_open_8bit and must outlive *out. Release with cr_frozen_release.
enum cr_status cr_frozen_open(const struct cr_model *model, struct cr_frozen *out);
void cr_frozen_release(struct cr_frozen *frozen); // zeros are allowed

#endif
