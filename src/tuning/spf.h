// Sparse fine-tuning (SPF; Huang et al. 2024, arXiv 2401.09796, section 2.3): a small part of the frozen
// weights is trained, as a sparse change beside them. y += x ΔWᵀ, and W itself never changes.
//
// Parameters are only the changes, one tensor for each module: "<module>.weight.values", [rows, in] for whole
// rows or [count] for elements, row by row. They begin at zero, so training starts exactly at the base model.
// Weight decay pulls them to zero, and so a weight back to its value in the base.
#ifndef CARREL_TUNING_SPF_H
#define CARREL_TUNING_SPF_H

#include "tuning/spf_select.h"
#include "tuning/structure.h"

// The structure for a model, which must outlive it. Takes ownership of the selection, even on failure, and
// copies the configuration, which is saved with the result. Without `training` it holds no gradients. All
// values are zero; fill them and refresh.
enum cr_status cr_spf_new(const struct cr_spf_config *config, struct cr_spf_selection *selection,
                          struct cr_model *model, bool training, struct cr_structure **out);

// Bytes that it takes for the model besides values, gradients and moments, at most.
enum cr_status cr_spf_memory_of(const struct cr_spf_config *config, const struct cr_model_config *model,
                                enum cr_dtype act, size_t *beside);

// Releases a configuration from cr_spf_config_parse (tuning/spf_file.h); usable with CR_CLEANUP.
void cr_spf_config_release(struct cr_spf_config *config);

#endif
