// Which linear modules a configuration names: PEFT's target_modules and layers_to_transform.
#ifndef CARREL_TUNING_TARGETS_H
#define CARREL_TUNING_TARGETS_H

#include "format/json.h"
#include "model/model.h"
#include "tuning/config.h"

struct cr_module_place {
    size_t layer;
    enum cr_module module;
};

// Place i of the layers · CR_MODULES places of a model, layer by layer in the order of enum cr_module.
static inline struct cr_module_place cr_module_place_at(size_t i)
{
    return (struct cr_module_place){i / CR_MODULES, (enum cr_module)(i % CR_MODULES)};
}

// The modules that `targets` (target_count of them) name, layer by layer in the order of enum cr_module; free
// *out with cr_free. A target is "all-linear", a module's name ("q_proj"), the end of its whole name
// ("layers.0.self_attn.q_proj"), or, if it is the only one, a regular expression for whole names, matched as
// in PEFT. A target that matches nothing returns CR_INVALID and a list of the names; a layer that the model
// does not have returns CR_INVALID too. Empty `layers`: all. As in PEFT, a whole name
// ("model.layers.0.self_attn.q_proj") is adapted whatever `layers` says. `section` ("lora.", or "") precedes
// the key in error messages.
enum cr_status cr_module_places(const char *section, const char *const *targets, size_t target_count,
                                const struct cr_size_list *layers, const struct cr_model_config *model,
                                struct cr_module_place **out, size_t *count);

// Whether the target is a regular expression: it has a character that no name has, or it has a dot and is
// the end of no module's whole name ("model.layers...self_attn.q_proj").
bool cr_target_is_expression(const struct cr_model_config *model, const char *target);

// The module's name in Transformers' model ("model.layers.0.self_attn.q_proj"); false where the model has no
// such module.
enum { CR_PLACE_NAME_SIZE = 96 };
bool cr_module_place_name(const struct cr_model_config *model, struct cr_module_place place,
                          char out[CR_PLACE_NAME_SIZE]);

// The index among model->parameters of the weight of a module that the model has.
size_t cr_module_place_parameter(const struct cr_model *model, struct cr_module_place place);

// A deep copy, and what releases it.
enum cr_status cr_targets_copy(const struct cr_targets *targets, struct cr_targets *out);
void cr_targets_release(struct cr_targets *targets);

// Reads the members target_modules and layers_to_transform of a JSON file of that name into empty lists;
// absent or null: an empty list. Release *out even on failure.
enum cr_status cr_targets_read(const struct cr_json *root, const char *name, struct cr_targets *out);

// Takes out the names that match nothing in this model, as PEFT ignores them in an adapter's list as long as
// another name matches; without such another, all stay. A name of embeddings or of lm_head stays.
void cr_targets_keep_known(struct cr_targets *targets, const struct cr_model_config *model);

enum cr_status cr_layers_append(const struct cr_size_list *layers, struct cr_buffer *out);

#endif
