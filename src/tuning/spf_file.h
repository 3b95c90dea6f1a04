// A sparse change as files: a directory of spf_config.json and spf_model.safetensors.
//
// Each changed module has, under its name in Transformers' model, say model.layers.0.self_attn.q_proj, either
// whole rows
//     ....q_proj.weight.rows           I32 [n]      which rows, ascending
//     ....q_proj.weight.values         F32 [n, in]  what is added to them
// or elements as PyTorch's sparse_csr_tensor takes them
//     ....q_proj.weight.crow_indices   I32 [out + 1]
//     ....q_proj.weight.col_indices    I32 [count]  ascending within a row
//     ....q_proj.weight.values         F32 [count]
// Rows are output features and columns input features, whatever the layout in the model's own file (gpt2
// stores its weights transposed). spf_config.json says "format": "carrel-spf", "version": 1 and how the
// places were chosen; the places themselves are in the tensors.
#ifndef CARREL_TUNING_SPF_FILE_H
#define CARREL_TUNING_SPF_FILE_H

#include "format/safetensors.h"
#include "tuning/parameters.h"
#include "tuning/spf_select.h"
#include "tuning/structure.h"

extern const char cr_spf_config_name[]; // "spf_config.json"
extern const char cr_spf_model_name[];  // "spf_model.safetensors"

// Writes the directory (made if missing, mode 0700; files 0600). `parameters` are those of cr_spf_new.
enum cr_status cr_spf_write(const char *directory, const struct cr_spf_config *config, const char *base_model,
                            const struct cr_model_config *model, const struct cr_spf_selection *selection,
                            const struct cr_parameters *parameters);

// Reads the text of a spf_config.json; release with cr_spf_config_release.
enum cr_status cr_spf_config_parse(struct cr_slice json, const char *name, struct cr_spf_config *out);

// The places that a file changes. A missing, surplus or misshapen tensor, and rows or columns that are
// outside the module, out of order or repeated, return CR_INVALID with name and place; values of another type
// return CR_UNSUPPORTED.
enum cr_status cr_spf_places_read(const struct cr_safetensors *file, const struct cr_model_config *model,
                                  struct cr_spf_selection *out);

// Opens such a directory for passes without training, over a model that must outlive it. Values may be F32,
// F16 or BF16; NaN and infinity return CR_INVALID and name the tensor.
enum cr_status cr_spf_open(const char *directory, struct cr_model *model, struct cr_structure **out);

#endif
