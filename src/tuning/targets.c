#include "tuning/targets.h"

#include "model/weights.h"
#include "text/expression.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool cr_module_place_name(const struct cr_model_config *model, struct cr_module_place place,
                          char out[CR_PLACE_NAME_SIZE])
{
    const char *path = cr_module_path(model, place.module);
    if (path)
        snprintf(out, CR_PLACE_NAME_SIZE, "%s.%zu.%s", cr_layers_path(model->layout), place.layer, path);
    return path != NULL;
}

// PEFT's rule: the whole name, or what follows one of its dots.
static bool matches(const char *target, const char *name)
{
    size_t size = strlen(name), tail = strlen(target);
    if (strcmp(target, "all-linear") == 0) return true;
    return tail <= size && strcmp(name + size - tail, target) == 0 &&
           (tail == size || name[size - tail - 1] == '.');
}

// Whether it has a character that no name has.
static bool has_special(const char *target)
{
    return strpbrk(target, "*|()[]{}\\^$+?") != NULL;
}

static bool matches_a_place(const struct cr_model_config *model, const char *target)
{
    char name[CR_PLACE_NAME_SIZE];
    for (size_t i = 0; i < model->layers * CR_MODULES; i++)
        if (cr_module_place_name(model, cr_module_place_at(i), name) && matches(target, name)) return true;
    return false;
}

bool cr_target_is_expression(const struct cr_model_config *model, const char *target)
{
    return has_special(target) || (strchr(target, '.') && !matches_a_place(model, target));
}

static enum cr_status fail_unknown(const struct cr_model_config *model, const char *section,
                                   const char *target)
{
    char known[256] = "";
    for (size_t m = 0, at = 0; m < CR_MODULES && at < sizeof known; m++) {
        const char *name = cr_module_name(model, (enum cr_module)m);
        if (name && !strstr(known, name)) // gpt2 has two c_proj
            at += (size_t)snprintf(known + at, sizeof known - at, "%s, ", name);
    }
    const char *why = has_special(target)
                          ? "a regular expression that matches no linear module, or does not stand alone"
                          : "no such linear module";
    return cr_fail(CR_INVALID, "%starget_modules: \"%.100s\": %s (known: %sall-linear)", section, target, why,
                   known);
}

// Finds which of the model's layers are adapted; *out has one flag per layer.
static enum cr_status chosen_layers(const char *section, const struct cr_size_list *wanted, size_t layers,
                                    bool **out)
{
    CR_FREE bool *chosen = NULL;
    CR_TRY(cr_allocate(layers, sizeof *chosen, &chosen));
    for (size_t i = 0; i < layers; i++) chosen[i] = wanted->count == 0;
    for (size_t i = 0; i < wanted->count; i++) {
        if (wanted->items[i] >= layers)
            return cr_fail(CR_INVALID, "%slayers_to_transform: %zu: the model has layers 0 to %zu", section,
                           wanted->items[i], layers - 1);
        chosen[wanted->items[i]] = true;
    }
    *out = chosen;
    chosen = NULL;
    return CR_OK;
}

static enum cr_status find(const char *section, struct cr_search *expression, const char *target,
                           const char *name, bool *found)
{
    size_t start, end;
    *found = !expression && matches(target, name);
    if (!expression) return CR_OK;
    cr_search_over(expression, cr_slice_of_string(name));
    enum cr_status status = cr_search_next(expression, found, &start, &end);
    return status == CR_OK ? CR_OK : cr_fail_within(status, "%starget_modules", section);
}

// What PEFT also adapts, but no adapter here can contain.
static const char *const others[] = {"lm_head", "model.embed_tokens", "transformer.wte", "transformer.wpe"};

static enum cr_status refuse_others(const char *section, const char *target, struct cr_search *expression)
{
    bool found = false;
    for (size_t i = 0; !found && i < sizeof others / sizeof *others; i++)
        CR_TRY(find(section, expression, target, others[i], &found));
    if (!found) return CR_OK;
    return cr_fail(CR_UNSUPPORTED,
                   "%starget_modules: \"%.100s\": an adapter of embeddings or lm_head is not supported",
                   section, target);
}

// Marks the places, among all of the model's, that one target or an expression matches; matching none is an
// error. As in PEFT, `chosen` layers apply to parts of names: a whole name is adapted in any case.
static enum cr_status mark_target(const struct cr_model_config *model, const char *section,
                                  const char *target, struct cr_search *expression, const bool *chosen,
                                  bool *marked)
{
    bool known = false, found;
    for (size_t i = 0; i < model->layers * CR_MODULES; i++) {
        char name[CR_PLACE_NAME_SIZE];
        struct cr_module_place place = cr_module_place_at(i);
        if (!cr_module_place_name(model, place, name)) continue;
        CR_TRY(find(section, expression, target, name, &found));
        if (!found) continue;
        if (chosen[place.layer] || strcmp(target, name) == 0) marked[i] = true;
        known = true;
    }
    if (known) return CR_OK;
    CR_TRY(refuse_others(section, target, expression));
    return fail_unknown(model, section, target);
}

// PEFT matches a regular expression against whole names.
static enum cr_status mark_expression(const struct cr_model_config *model, const char *section,
                                      const char *target, const bool *chosen, bool *marked)
{
    char key[64];
    struct cr_expression *expression;
    CR_CLEANUP(cr_search_release) struct cr_search search = {0};
    snprintf(key, sizeof key, "%starget_modules", section);
    CR_TRY(cr_expression_new_whole(cr_slice_of_string(target), key, &expression));
    enum cr_status status = cr_search_init(&search, expression);
    if (status == CR_OK) status = refuse_others(section, target, &search);
    if (status == CR_OK) status = mark_target(model, section, target, &search, chosen, marked);
    cr_expression_free(expression);
    return status;
}

enum cr_status cr_module_places(const char *section, const char *const *targets, size_t target_count,
                                const struct cr_size_list *layers, const struct cr_model_config *model,
                                struct cr_module_place **out, size_t *count)
{
    CR_FREE bool *chosen = NULL;
    CR_TRY(chosen_layers(section, layers, model->layers, &chosen));
    CR_FREE bool *marked = NULL;
    CR_TRY(cr_allocate(model->layers * CR_MODULES, sizeof *marked, &marked));
    bool alone = target_count == 1 && cr_target_is_expression(model, targets[0]);
    if (alone) CR_TRY(mark_expression(model, section, targets[0], chosen, marked));
    for (size_t i = 0; !alone && i < target_count; i++)
        CR_TRY(mark_target(model, section, targets[i], NULL, chosen, marked));
    CR_FREE struct cr_module_place *places = NULL;
    CR_TRY(cr_allocate(model->layers * CR_MODULES, sizeof *places, &places));
    size_t found = 0;
    for (size_t i = 0; i < model->layers * CR_MODULES; i++)
        if (marked[i]) places[found++] = cr_module_place_at(i);
    if (found == 0)
        return cr_fail(CR_INVALID,
                       "%starget_modules: none lies in layers_to_transform: nothing would be adapted",
                       section);
    *out = places;
    *count = found;
    places = NULL;
    return CR_OK;
}

size_t cr_module_place_parameter(const struct cr_model *model, struct cr_module_place place)
{
    return (size_t)(cr_weights_parameter(model, CR_PARAMETER_MODULE, place.layer, place.module) -
                    model->parameters);
}

static enum cr_status add_target(struct cr_string_list *list, const char *target)
{
    CR_TRY(cr_reallocate(list->count + 1, sizeof *list->items, &list->items));
    CR_TRY(cr_copy_string(target, &list->items[list->count]));
    list->count++;
    return CR_OK;
}

static enum cr_status read_modules(const struct cr_json *value, const char *name, struct cr_string_list *out)
{
    if (cr_json_kind(value) == CR_JSON_NULL)
        return CR_OK; // PEFT's default for the family, see cr_lora_targets
    if (cr_json_kind(value) == CR_JSON_STRING)
        return add_target(out, (const char *)cr_json_string(value).data);
    if (cr_json_kind(value) != CR_JSON_ARRAY || cr_json_count(value) == 0)
        return cr_fail(CR_INVALID, "%s: target_modules: must be a list of names", name);
    for (size_t i = 0; i < cr_json_count(value); i++) {
        const struct cr_json *item = cr_json_at(value, i);
        if (cr_json_kind(item) != CR_JSON_STRING)
            return cr_fail(CR_INVALID, "%s: target_modules: must be a list of names", name);
        CR_TRY(add_target(out, (const char *)cr_json_string(item).data));
    }
    return CR_OK;
}

static enum cr_status read_layers(const struct cr_json *value, const char *name, struct cr_size_list *out)
{
    bool list = cr_json_kind(value) == CR_JSON_ARRAY;
    size_t count = list ? cr_json_count(value) : cr_json_kind(value) != CR_JSON_NULL;
    CR_TRY(cr_allocate(count, sizeof *out->items, &out->items));
    for (size_t i = 0; i < count; i++) {
        int64_t layer;
        if (!cr_json_is_integer(list ? cr_json_at(value, i) : value, &layer) || layer < 0 ||
            layer >= CR_MOST_LAYERS)
            return cr_fail(CR_INVALID, "%s: layers_to_transform: must be numbers of layers", name);
        out->items[out->count++] = (size_t)layer;
    }
    return CR_OK;
}

enum cr_status cr_targets_read(const struct cr_json *root, const char *name, struct cr_targets *out)
{
    CR_TRY(read_modules(cr_json_member(root, "target_modules"), name, &out->modules));
    return read_layers(cr_json_member(root, "layers_to_transform"), name, &out->layers);
}

static bool is_known(const struct cr_model_config *model, const char *target)
{
    bool known = matches_a_place(model, target);
    for (size_t i = 0; !known && i < sizeof others / sizeof *others; i++) known = matches(target, others[i]);
    return known;
}

void cr_targets_keep_known(struct cr_targets *targets, const struct cr_model_config *model)
{
    struct cr_string_list *list = &targets->modules;
    size_t known = 0;
    for (size_t i = 0; i < list->count; i++) known += is_known(model, list->items[i]);
    if (known == 0) return;
    size_t kept = 0;
    for (size_t i = 0; i < list->count; i++)
        if (is_known(model, list->items[i]))
            list->items[kept++] = list->items[i];
        else
            free(list->items[i]);
    list->count = kept;
}

enum cr_status cr_targets_copy(const struct cr_targets *targets, struct cr_targets *out)
{
    struct cr_targets copy = {0};
    CR_TRY(cr_string_list_copy(&targets->modules, &copy.modules));
    enum cr_status status = cr_size_list_copy(&targets->layers, &copy.layers);
    if (status == CR_OK)
        *out = copy;
    else
        cr_targets_release(&copy);
    return status;
}

void cr_targets_release(struct cr_targets *targets)
{
    cr_string_list_release(&targets->modules);
    cr_size_list_release(&targets->layers);
}

enum cr_status cr_layers_append(const struct cr_size_list *layers, struct cr_buffer *out)
{
    if (layers->count == 0) return cr_append_format(out, "null");
    for (size_t i = 0; i < layers->count; i++)
        CR_TRY(cr_append_format(out, "%s%zu", i == 0 ? "[" : ", ", layers->items[i]));
    return cr_append_format(out, "]");
}
