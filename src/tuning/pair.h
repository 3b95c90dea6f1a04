// LoRA and sparse fine-tuning together, on the same modules or on others: one vector of parameters, LoRA's
// first, and where both tune a module the sum of what they add.
#ifndef CARREL_TUNING_PAIR_H
#define CARREL_TUNING_PAIR_H

#include "tuning/structure.h"

// Takes both, also where it fails; they are of one model, and both for training or both not. Their values are
// kept.
enum cr_status cr_pair_new(struct cr_structure *first, struct cr_structure *second,
                           struct cr_structure **out);

#endif
