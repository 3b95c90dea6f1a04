#include "format/event_line.h"

#include <math.h>
#include <string.h>

static enum cr_status get_text(const struct cr_json *value, const char *name, const char *key,
                               const char **out)
{
    struct cr_slice text = cr_json_string(value);
    if (!text.data) return cr_fail(CR_INVALID, "%s: \"%.80s\" is no text", name, key);
    if (strlen((const char *)text.data) != text.size)
        return cr_fail(CR_INVALID, "%s: \"%.80s\" has a zero byte inside", name, key);
    *out = (const char *)text.data;
    return CR_OK;
}

static enum cr_status get_level(const struct cr_json *value, const char *name, enum cr_event_level *out)
{
    static const char *const levels[] = {"debug", "info", "warning"};
    for (int i = 0; i < 3; i++) {
        if (!cr_json_is_string(value, levels[i])) continue;
        *out = (enum cr_event_level)i;
        return CR_OK;
    }
    return cr_fail(CR_INVALID, "%s: \"level\" is none of debug, info and warning", name);
}

static enum cr_status get_field(const struct cr_json *value, const char *name, const char *key,
                                struct cr_event_line *line)
{
    if (line->event.field_count == CR_EVENT_LINE_FIELDS)
        return cr_fail(CR_INVALID, "%s: more than %d fields", name, CR_EVENT_LINE_FIELDS);
    struct cr_event_field field = {.name = key, .number = NAN};
    enum cr_json_kind kind = cr_json_kind(value);
    if (kind == CR_JSON_NUMBER)
        field.number = cr_json_number(value, 0);
    else if (kind != CR_JSON_NULL)
        CR_TRY(get_text(value, name, key, &field.text));
    line->fields[line->event.field_count++] = field;
    return CR_OK;
}

static enum cr_status read_members(const char *name, struct cr_event_line *line)
{
    if (cr_json_kind(line->root) != CR_JSON_OBJECT) return cr_fail(CR_INVALID, "%s: no object", name);
    void *position = NULL;
    const char *key;
    const struct cr_json *value;
    while (cr_json_next(line->root, &position, &key, &value)) {
        if (strcmp(key, "event") == 0)
            CR_TRY(get_text(value, name, key, &line->event.name));
        else if (strcmp(key, "message") == 0)
            CR_TRY(get_text(value, name, key, &line->event.message));
        else if (strcmp(key, "level") == 0)
            CR_TRY(get_level(value, name, &line->event.level));
        else
            CR_TRY(get_field(value, name, key, line));
    }
    return line->event.name ? CR_OK : cr_fail(CR_INVALID, "%s: names no \"event\"", name);
}

enum cr_status cr_event_line_parse(struct cr_slice text, const char *name, struct cr_event_line *out)
{
    *out = (struct cr_event_line){.event = {.level = CR_EVENT_INFO}};
    CR_TRY(cr_json_parse(text, name, &out->root));
    out->event.fields = out->fields;
    enum cr_status status = read_members(name, out);
    if (status != CR_OK) cr_event_line_release(out);
    return status;
}

void cr_event_line_release(struct cr_event_line *line)
{
    cr_json_release(&line->root);
}
