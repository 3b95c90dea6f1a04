// LoRA and sparse fine-tuning together, on the same modules or on different ones: one vector of parameters,
// LoRA's first. If both tune a module, their contributions are added.
#ifndef CARREL_TUNING_PAIR_H
#define CARREL_TUNING_PAIR_H

#include "tuning/structure.h"

// Takes ownership of both structures, even on failure. They must be of one model, and both for training or
// both not. Their values are kept.
enum cr_status cr_pair_new(struct cr_structure *first, struct cr_structure *second,
                           struct cr_structure **out);

#endif
