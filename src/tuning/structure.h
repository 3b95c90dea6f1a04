// What is trained, behind one interface: a vector of parameters and the places of the model where they act.
// The kinds are LoRA (lora.h), prefix tuning (prefix.h), sparse fine-tuning (spf.h), that and LoRA together
// (pair.h), and full fine-tuning (full.h).
#ifndef CARREL_TUNING_STRUCTURE_H
#define CARREL_TUNING_STRUCTURE_H

#include "crypto/hash.h"
#include "model/model.h"
#include "tuning/parameters.h"
#include "tuning/targets.h"

struct cr_structure;

struct cr_structure_kind {
    // Makes the walk follow the present values (the model's weights, a copy in the activation type). Called
    // before the first walk after any change of values.
    enum cr_status (*refresh)(struct cr_structure *self);

    // Goes before the walks of training micro-batch `micro` (numbered over the whole run), which fixes
    // everything random in them. The walks of other lanes may go on in between: what holds from here to the
    // way back is the lane's own. May be NULL, like the next two.
    void (*begin_training)(struct cr_structure *self, uint32_t micro);
    // Goes before walks without dropout.
    void (*begin_evaluation)(struct cr_structure *self);

    // Goes after the last walk of a step: what of the gradient the walks left beside the vector goes into it.
    enum cr_status (*finish_gradient)(struct cr_structure *self);

    // Adds to the hash what two runs must share to train the same thing, values aside.
    enum cr_status (*describe)(const struct cr_structure *self, struct cr_hasher *hasher);

    // Writes the result as others read it: a PEFT or a Transformers directory. `base` is the directory of the
    // base model.
    enum cr_status (*save)(struct cr_structure *self, const char *base, const char *directory);

    // weight += what is trained of the module, both [out,in] F32. NULL: the kind changes no weight of a
    // frozen model.
    enum cr_status (*merge)(const struct cr_structure *self, struct cr_module_place place,
                            struct cr_matrix weight);

    void (*release)(struct cr_structure *self);        // what the kind holds beside the fields below
    size_t (*memory)(const struct cr_structure *self); // bytes beside the vectors
};

struct cr_structure {
    const struct cr_structure_kind *kind;
    struct cr_parameters parameters;
    struct cr_tuned tuned;
    struct cr_model *model; // borrowed
};

// Releases whatever kind it is, parameters too, and frees it. NULL is allowed.
void cr_structure_free(struct cr_structure *structure);

#endif
