// What is trained, behind one interface: a vector of parameters and the places in the model where they act.
// The kinds are LoRA (lora.h), prefix tuning (prefix.h), sparse fine-tuning (spf.h), LoRA with sparse
// fine-tuning (pair.h), and full fine-tuning (full.h).
#ifndef CARREL_TUNING_STRUCTURE_H
#define CARREL_TUNING_STRUCTURE_H

#include "crypto/hash.h"
#include "model/model.h"
#include "tuning/parameters.h"
#include "tuning/targets.h"

struct cr_structure;

struct cr_structure_kind {
    // Makes passes use the present values (updates the model's weights, or a copy in the activation type).
    // Called before the first pass after any change of values.
    enum cr_status (*refresh)(struct cr_structure *self);

    // Called before the passes of training micro-batch `micro` (numbered over the whole run), which
    // determines everything random in them. Passes of other lanes may run in between, so what is set here
    // belongs to the lane until its backward pass. May be NULL, like the next two.
    void (*begin_training)(struct cr_structure *self, uint32_t micro);
    // Called before passes without dropout.
    void (*begin_evaluation)(struct cr_structure *self);

    // Called after the last pass of a step: adds to the gradient vector what passes collected outside it.
    enum cr_status (*finish_gradient)(struct cr_structure *self);

    // Adds to the hash what two runs must share to train the same thing, except values.
    enum cr_status (*describe)(const struct cr_structure *self, struct cr_hasher *hasher);

    // Writes the result in the format that others read: a PEFT or a Transformers directory. `base` is the
    // base model's directory.
    enum cr_status (*save)(struct cr_structure *self, const char *base, const char *directory);

    // weight += the trained change of the module, both [out,in] F32. NULL: the kind changes no weight of a
    // frozen model.
    enum cr_status (*merge)(const struct cr_structure *self, struct cr_module_place place,
                            struct cr_matrix weight);

    void (*release)(struct cr_structure *self);        // what the kind holds besides the fields below
    size_t (*memory)(const struct cr_structure *self); // bytes besides the vectors
};

struct cr_structure {
    const struct cr_structure_kind *kind;
    struct cr_parameters parameters;
    struct cr_tuned tuned;
    struct cr_model *model; // borrowed
};

// Releases a structure of any kind, including its parameters, and frees it. NULL is allowed.
void cr_structure_free(struct cr_structure *structure);

#endif
