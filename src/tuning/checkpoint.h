// A whole model written as a Transformers directory.
#ifndef CARREL_TUNING_CHECKPOINT_H
#define CARREL_TUNING_CHECKPOINT_H

#include "model/model.h"
#include "tuning/parameters.h"

// What config.json says beside the shape: the type that weights are stored in ("dtype" or "torch_dtype"; F32
// where absent), the deviation of random weights ("initializer_range", 0.02 where absent), and the dropouts
// above 0 that Transformers applies in training and carrel does not.
struct cr_checkpoint_config {
    enum cr_dtype dtype;
    double initializer_range;
    char dropouts[160]; // "attn_pdrop 0.1, resid_pdrop 0.1"; empty: none
};
enum cr_status cr_checkpoint_config_read(const char *directory, struct cr_checkpoint_config *out);

// Whether the model brings a chat template of its own, in Jinja: in tokenizer_config.json or
// chat_template.jinja.
enum cr_status cr_checkpoint_has_template(const char *directory, bool *out);

// Writes model.safetensors with these parameters, each in the type that the base's checkpoint has it in (or,
// without one, that config.json names), and copies the base's other files. The directory is made where absent
// (mode 0700; files 0600).
enum cr_status cr_checkpoint_write(const char *directory, const char *base, const struct cr_model *model,
                                   const struct cr_parameters *parameters);

// What it copies: config.json, generation_config.json and the tokenizer's files; NULL at the end.
extern const char *const cr_checkpoint_copied[];

// Copies them where they exist (files 0600).
enum cr_status cr_checkpoint_copy_files(const char *base, const char *directory);

#endif
