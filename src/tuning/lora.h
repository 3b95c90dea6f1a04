// LoRA (Hu et al. 2021, arXiv 2106.09685, section 4.1): beside a frozen W [out,in] a trained product of two
// thin matrices, y += scale · (dropout(x) Aᵀ) Bᵀ, A [r,in], B [out,r].
//
// Parameters carry PEFT's names ("base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"), layer by
// layer in the order of enum cr_module; of modules that share their input every A goes before any B, so that
// their A are the rows of one matrix, and one product with x serves them all.
#ifndef CARREL_TUNING_LORA_H
#define CARREL_TUNING_LORA_H

#include "base/lanes.h"
#include "tuning/config.h"
#include "tuning/structure.h"
#include "tuning/targets.h"

// lora_alpha/r, or lora_alpha/sqrt(r).
double cr_lora_scale(const struct cr_lora_config *config);

// The modules that this configuration adapts in this model (cr_module_places); free *out with cr_free.
enum cr_status cr_lora_places(const struct cr_lora_config *config, const struct cr_model_config *model,
                              struct cr_module_place **out, size_t *count);

// The names that the configuration adapts in this model, *count of them: target_modules or, where it is
// empty, PEFT's choice for the family (q_proj and v_proj; c_attn).
const char *const *cr_lora_targets(const struct cr_lora_config *config, const struct cr_model_config *model,
                                   size_t *count);

// How many of these places, from the first, share its input.
size_t cr_lora_sharing(const struct cr_module_place *places, size_t count);

// Adds A and B of each place, named and shaped but without memory.
enum cr_status cr_lora_parameters(const struct cr_lora_config *config, const struct cr_model_config *model,
                                  const struct cr_module_place *places, size_t count,
                                  struct cr_parameters *parameters);

// The structure for a model that outlives it. `rows`: the most rows of a training walk; 0 makes one for use
// without training, which takes any number of rows. `lanes` are those of training walks, and outlive it like
// the model; NULL: one. The configuration is copied. All values are zero: call cr_lora_initialise, or fill
// them and refresh.
enum cr_status cr_lora_new(const struct cr_lora_config *config, struct cr_model *model, uint64_t seed,
                           size_t rows, const struct cr_lanes *lanes, struct cr_structure **out);

// A uniform in ±1/sqrt(in) (PyTorch's default for linear layers, which PEFT uses: Kaiming with a = sqrt 5)
// from a stream of its own for each module, B zero: training starts at the base model exactly.
enum cr_status cr_lora_initialise(struct cr_structure *structure, uint64_t seed);

#endif
