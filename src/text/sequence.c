#include "text/sequence.h"

enum { NESTING_LIMIT = 8 };

enum cr_status cr_sequence_steps(const struct cr_json *json, const char *name, const char *section,
                                 const char *key, size_t depth, const struct cr_json **out)
{
    const struct cr_json *steps = cr_json_member(json, key);
    if (cr_json_kind(steps) != CR_JSON_ARRAY || depth == NESTING_LIMIT)
        return cr_fail(CR_INVALID, "%s: %s: a Sequence without a list, or nested too deep", name, section);
    *out = steps;
    return CR_OK;
}
