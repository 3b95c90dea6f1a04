// What was tuned, as a directory: a PEFT adapter, a sparse change (spf_file.h), or both beside each other.
#ifndef CARREL_TUNING_ADAPTER_H
#define CARREL_TUNING_ADAPTER_H

#include "format/safetensors.h"
#include "tuning/structure.h"

// Which of the two a directory holds.
struct cr_adapter_kinds {
    bool peft, spf;
};
struct cr_adapter_kinds cr_adapter_look(const char *directory);

// CR_NOT_FOUND where there is neither: to be asked before a model is read.
enum cr_status cr_adapter_check(const char *directory);

// Opens what is there for walks without training over a model that outlives it. CR_NOT_FOUND where there is
// neither.
enum cr_status cr_adapter_open(const char *directory, struct cr_model *model, struct cr_structure **out);

// Takes the structure, also where it fails: fills its parameters with the file's tensors of their names,
// which are there, F32, F16 or BF16, and refreshes it. NaN or infinity is CR_INVALID by name.
enum cr_status cr_adapter_fill(struct cr_structure *structure, const struct cr_safetensors *file,
                               struct cr_structure **out);

#endif
