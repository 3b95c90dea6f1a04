// What was tuned, as a directory: a PEFT adapter, a sparse change (spf_file.h), or both beside each other.
#ifndef CARREL_TUNING_ADAPTER_H
#define CARREL_TUNING_ADAPTER_H

#include "format/safetensors.h"
#include "tuning/structure.h"

// Which of the two kinds a directory holds.
struct cr_adapter_kinds {
    bool peft, spf;
};
struct cr_adapter_kinds cr_adapter_look(const char *directory);

// CR_NOT_FOUND if the directory holds neither. For a check before a model is read.
enum cr_status cr_adapter_check(const char *directory);

// Opens the adapter there for passes without training, over a model that must outlive it. CR_NOT_FOUND if the
// directory holds neither kind.
enum cr_status cr_adapter_open(const char *directory, struct cr_model *model, struct cr_structure **out);

// Takes ownership of `structure`, even on failure. Fills its parameters from the file's tensors of the same
// names, which must be there in F32, F16 or BF16, and refreshes it. NaN or infinity returns CR_INVALID and
// names the tensor.
enum cr_status cr_adapter_fill(struct cr_structure *structure, const struct cr_safetensors *file,
                               struct cr_structure **out);

#endif
