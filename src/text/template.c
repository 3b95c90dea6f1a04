#include "text/template.h"

#include "text/component.h"

#include <string.h>

void cr_template_release(struct cr_template *template)
{
    cr_ids_release(&template->before);
    cr_ids_release(&template->after);
}

static enum cr_status add_special(const struct cr_json *specials, const struct cr_json *piece,
                                  const char *name, size_t vocabulary, struct cr_ids *out)
{
    const char *token;
    CR_TRY(cr_json_get_string(piece, name, "id", "", &token));
    const struct cr_json *ids = cr_json_member(cr_json_member(specials, token), "ids");
    if (cr_json_kind(ids) != CR_JSON_ARRAY)
        return cr_fail(CR_INVALID, "%s: post_processor: special token \"%.60s\" has no ids", name, token);
    for (size_t i = 0; i < cr_json_count(ids); i++) {
        int64_t id;
        if (!cr_json_is_integer(cr_json_at(ids, i), &id) || id < 0 || (uint64_t)id >= vocabulary)
            return cr_fail(CR_INVALID, "%s: post_processor: an id of \"%.60s\" is outside the vocabulary",
                           name, token);
        CR_TRY(cr_ids_append(out, (uint32_t)id));
    }
    return CR_OK;
}

static enum cr_status parse_single(const struct cr_json *json, const char *name, size_t vocabulary,
                                   struct cr_template *template)
{
    const struct cr_json *single = cr_json_member(json, "single");
    const struct cr_json *specials = cr_json_member(json, "special_tokens");
    if (cr_json_kind(single) != CR_JSON_ARRAY)
        return cr_fail(CR_INVALID, "%s: post_processor: \"single\" must be a list", name);
    bool met = false; // the text's own place was seen
    for (size_t i = 0; i < cr_json_count(single); i++) {
        const struct cr_json *piece = cr_json_at(single, i);
        const struct cr_json *special = cr_json_member(piece, "SpecialToken");
        if (special) {
            CR_TRY(
                add_special(specials, special, name, vocabulary, met ? &template->after : &template->before));
        } else if (cr_json_is_string(cr_json_member(cr_json_member(piece, "Sequence"), "id"), "A") && !met) {
            met = true;
        } else {
            return cr_fail(CR_UNSUPPORTED, "%s: post_processor: part %zu of \"single\" is not supported",
                           name, i);
        }
    }
    if (!met) return cr_fail(CR_UNSUPPORTED, "%s: post_processor: \"single\" leaves out the text", name);
    return CR_OK;
}

static enum cr_status parse(const struct cr_json *json, const char *name, size_t vocabulary, size_t depth,
                            struct cr_template *template)
{
    if (cr_json_kind(json) == CR_JSON_NULL) return CR_OK;
    const char *type;
    CR_TRY(cr_json_get_string(json, name, "type", "", &type));
    if (strcmp(type, "ByteLevel") == 0) return CR_OK; // affects only offsets
    if (strcmp(type, "TemplateProcessing") == 0) {
        if (template->before.count + template->after.count > 0)
            return cr_fail(CR_UNSUPPORTED, "%s: post_processor: two templates are not supported", name);
        return parse_single(json, name, vocabulary, template);
    }
    if (strcmp(type, "Sequence") != 0)
        return cr_fail(CR_UNSUPPORTED, "%s: post_processor \"%s\" is not supported", name, type);
    const struct cr_json *steps;
    CR_TRY(cr_component_steps(json, name, "post_processor", "processors", depth, &steps));
    for (size_t i = 0; i < cr_json_count(steps); i++)
        CR_TRY(parse(cr_json_at(steps, i), name, vocabulary, depth + 1, template));
    return CR_OK;
}

enum cr_status cr_template_parse(const struct cr_json *json, const char *name, size_t vocabulary,
                                 struct cr_template *out)
{
    struct cr_template template = {0};
    enum cr_status status = parse(json, name, vocabulary, 0, &template);
    if (status != CR_OK)
        cr_template_release(&template);
    else
        *out = template;
    return status;
}
