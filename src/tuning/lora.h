// LoRA (Hu et al. 2021, arXiv 2106.09685, section 4.1): besides a frozen W [out,in], a trained product of two
// thin matrices, y += scale · (dropout(x) Aᵀ) Bᵀ, A [r,in], B [out,r].
//
// Parameters have PEFT's names ("base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"), layer by
// layer in the order of enum cr_module. Of modules that share their input, all A come before any B, so that
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

// The names of the modules that the configuration adapts in this model, *count of them: target_modules or, if
// it is empty, PEFT's default for the family (q_proj and v_proj; c_attn). Borrowed.
const char *const *cr_lora_targets(const struct cr_lora_config *config, const struct cr_model_config *model,
                                   size_t *count);

// How many of these places, from the first on, share the first one's input.
size_t cr_lora_sharing(const struct cr_module_place *places, size_t count);

// Adds A and B of each place, with names and shapes but without memory.
enum cr_status cr_lora_parameters(const struct cr_lora_config *config, const struct cr_model_config *model,
                                  const struct cr_module_place *places, size_t count,
                                  struct cr_parameters *parameters);

// The structure for a model, which must outlive it. `rows`: the most rows of a training pass; 0 makes one for
// use without training, with any number of rows. `lanes` are those of training passes and must outlive it
// too; NULL: one. The configuration is copied. All values are zero: call cr_lora_initialise, or fill them and
// refresh.
enum cr_status cr_lora_new(const struct cr_lora_config *config, struct cr_model *model, uint64_t seed,
                           size_t rows, const struct cr_lanes *lanes, struct cr_structure **out);

// A uniform in ±1/sqrt(in) (PyTorch's default for linear layers, which PEFT uses: Kaiming with a = sqrt 5),
// from a random stream of its own for each module; B zero, so that training starts exactly at the base model.
enum cr_status cr_lora_initialise(struct cr_structure *structure, uint64_t seed);

#endif
