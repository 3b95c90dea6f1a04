#include "text/component.h"

enum { NESTING_LIMIT = 8 };

enum cr_status cr_component_steps(const struct cr_json *json, const char *name, const char *section,
                                  const char *key, size_t depth, const struct cr_json **out)
{
    const struct cr_json *steps = cr_json_member(json, key);
    if (cr_json_kind(steps) != CR_JSON_ARRAY || depth == NESTING_LIMIT)
        return cr_fail(CR_INVALID, "%s: %s: a Sequence without a list, or nested too deep", name, section);
    *out = steps;
    return CR_OK;
}

enum cr_status cr_component_string(const struct cr_json *json, const char *name, const char *section,
                                   const char *key, struct cr_buffer *out)
{
    const struct cr_json *value = cr_json_member(json, key);
    if (cr_json_kind(value) != CR_JSON_STRING)
        return cr_fail(CR_INVALID, "%s: %s: \"%s\" must be a string", name, section, key);
    struct cr_slice text = cr_json_string(value);
    return cr_append(out, text.data, text.size);
}

enum cr_status cr_component_replace(const struct cr_json *json, const char *name, const char *section,
                                    struct cr_buffer *pattern, struct cr_buffer *content)
{
    const struct cr_json *member = cr_json_member(json, "pattern");
    if (cr_json_member(member, "Regex"))
        return cr_fail(CR_UNSUPPORTED, "%s: %s: Replace with a regular expression is not supported", name,
                       section);
    CR_TRY(cr_component_string(member, name, section, "String", pattern));
    CR_TRY(cr_component_string(json, name, section, "content", content));
    if (pattern->size > 0) return CR_OK;
    return cr_fail(CR_INVALID, "%s: %s: Replace of an empty string", name, section);
}
