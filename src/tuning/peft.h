// Adapters as PEFT stores them: a directory of adapter_config.json and adapter_model.safetensors.
#ifndef CARREL_TUNING_PEFT_H
#define CARREL_TUNING_PEFT_H

#include "format/safetensors.h"
#include "tuning/lora.h"
#include "tuning/prefix.h"

// The content of an adapter_config.json.
struct cr_peft_config {
    int method;                     // enum cr_method: LoRA or prefix tuning
    struct cr_lora_config lora;     // for LoRA
    struct cr_prefix_config prefix; // for prefix tuning
    size_t num_layers;              // of the model that a prefix is for; 0: not given
};
void cr_peft_config_release(struct cr_peft_config *config);

// Writes the directory (made if missing, mode 0700; files 0600), with tensors in F32 under PEFT's names.
// `base_model` becomes base_model_name_or_path; `model` is the base's configuration.
enum cr_status cr_peft_write(const char *directory, const struct cr_peft_config *config,
                             const char *base_model, const struct cr_model_config *model,
                             const struct cr_parameters *parameters);

// Reads the text of an adapter_config.json. Options that change the result and that carrel does not compute
// (another peft_type, use_dora, rank_pattern, modules_to_save, a bias, ...) return CR_UNSUPPORTED and are
// named, as do unknown keys unless they are null, false or empty. Release with cr_peft_config_release.
enum cr_status cr_peft_config_parse(struct cr_slice json, const char *name, struct cr_peft_config *out);

// Appends the text of an adapter_config.json with the keys that PEFT needs.
enum cr_status cr_peft_config_write(const struct cr_peft_config *config, const char *base_model,
                                    const struct cr_model_config *model, struct cr_buffer *out);

// Adds the tensors that such an adapter has for this model, with names and shapes but without memory.
// CR_INVALID if it cannot belong to this model.
enum cr_status cr_peft_parameters(const struct cr_peft_config *config, const struct cr_model_config *model,
                                  struct cr_parameters *parameters);

// Maps the tensors of such a directory. CR_UNSUPPORTED if they are only in adapter_model.bin.
enum cr_status cr_peft_open_tensors(const char *directory, struct cr_safetensors **out);

// Opens an adapter that PEFT or carrel wrote, for passes without training over a model that must outlive it.
// Tensors are F32, F16 or BF16; a missing, surplus or misshapen tensor, or one with NaN or infinity, returns
// CR_INVALID and is named.
enum cr_status cr_peft_open(const char *directory, struct cr_model *model, struct cr_structure **out);

#endif
