// A whole model written as a Transformers directory.
#ifndef CARREL_TUNING_CHECKPOINT_H
#define CARREL_TUNING_CHECKPOINT_H

#include "model/model.h"
#include "tuning/parameters.h"

// What config.json says besides the shape: the type in which weights are stored ("dtype" or "torch_dtype";
// F32 if absent), the standard deviation of random weights ("initializer_range", 0.02 if absent), and the
// dropouts above 0 that Transformers applies in training and carrel does not.
struct cr_checkpoint_config {
    enum cr_dtype dtype;
    double initializer_range;
    char dropouts[160]; // "attn_pdrop 0.1, resid_pdrop 0.1"; empty: none
};
enum cr_status cr_checkpoint_config_read(const char *directory, struct cr_checkpoint_config *out);

// Whether the model has a chat template of its own, in Jinja: in tokenizer_config.json or
// chat_template.jinja.
enum cr_status cr_checkpoint_has_template(const char *directory, bool *out);

// Writes model.safetensors with these parameters, each in the type that it has in the base's checkpoint (or,
// without a checkpoint, in config.json's), and copies the base's other files. Makes the directory if it is
// missing (mode 0700; files 0600).
enum cr_status cr_checkpoint_write(const char *directory, const char *base, const struct cr_model *model,
                                   const struct cr_parameters *parameters);

// The files that it copies: config.json, generation_config.json and the tokenizer's files; NULL at the end.
extern const char *const cr_checkpoint_copied[];

// Copies those of them that exist (mode 0600).
enum cr_status cr_checkpoint_copy_files(const char *base, const char *directory);

#endif
