#include "format/event_line.h"

#include <math.h>

enum cr_status cr_event_line_append(const struct cr_event *event, struct cr_buffer *out)
{
    static const char *const levels[] = {"debug", "info", "warning"};
    CR_TRY(cr_append_format(out, "{\"event\": "));
    CR_TRY(cr_json_append_told(out, event->name));
    CR_TRY(cr_append_format(out, ", \"level\": \"%s\"", levels[event->level]));
    if (event->message) {
        CR_TRY(cr_append_format(out, ", \"message\": "));
        CR_TRY(cr_json_append_told(out, event->message));
    }
    for (size_t i = 0; i < event->field_count; i++) {
        const struct cr_event_field *field = &event->fields[i];
        CR_TRY(cr_append_format(out, ", "));
        CR_TRY(cr_json_append_told(out, field->name));
        CR_TRY(cr_append_format(out, ": "));
        if (field->text)
            CR_TRY(cr_json_append_told(out, field->text));
        else if (isfinite(field->number))
            CR_TRY(cr_json_append_number(out, field->number));
        else
            CR_TRY(cr_append_format(out, "null"));
    }
    return cr_append_u8(out, '}');
}
