// Adapters as PEFT stores them: a directory of adapter_config.json and adapter_model.safetensors.
#ifndef CARREL_TUNING_PEFT_H
#define CARREL_TUNING_PEFT_H

#include "format/safetensors.h"
#include "tuning/lora.h"
#include "tuning/prefix.h"

// What an adapter_config.json says.
struct cr_peft_config {
    int method;                     // enum cr_method: LoRA or prefix tuning
    struct cr_lora_config lora;     // of LoRA
    struct cr_prefix_config prefix; // of prefix tuning
    size_t num_layers;              // that a prefix is for; 0: not said
};
void cr_peft_config_release(struct cr_peft_config *config);

// Writes the directory (made where absent, mode 0700; files 0600), tensors F32 under PEFT's names.
// `base_model` becomes base_model_name_or_path, `model` is its configuration.
enum cr_status cr_peft_write(const char *directory, const struct cr_peft_config *config,
                             const char *base_model, const struct cr_model_config *model,
                             const struct cr_parameters *parameters);

// Reads the text of an adapter_config.json. Options that change the result and that carrel does not compute
// (another peft_type, use_dora, rank_pattern, modules_to_save, a bias, ...) are CR_UNSUPPORTED by name, keys
// it has never heard of too unless they are null, false or empty. Release with cr_peft_config_release.
enum cr_status cr_peft_config_parse(struct cr_slice json, const char *name, struct cr_peft_config *out);

// Appends the text of an adapter_config.json with the keys that PEFT needs.
enum cr_status cr_peft_config_write(const struct cr_peft_config *config, const char *base_model,
                                    const struct cr_model_config *model, struct cr_buffer *out);

// Adds the tensors that such an adapter has for this model, named and shaped but without memory. CR_INVALID
// where it cannot be one of this model.
enum cr_status cr_peft_parameters(const struct cr_peft_config *config, const struct cr_model_config *model,
                                  struct cr_parameters *parameters);

// Maps such a directory's tensors. CR_UNSUPPORTED where they are there as adapter_model.bin alone.
enum cr_status cr_peft_open_tensors(const char *directory, struct cr_safetensors **out);

// Opens an adapter that PEFT or carrel wrote, for walks without training over a model that outlives it. F32,
// F16 and BF16 tensors; a missing, surplus or misshapen tensor, or one with NaN or infinity, is CR_INVALID by
// name.
enum cr_status cr_peft_open(const char *directory, struct cr_model *model, struct cr_structure **out);

#endif
