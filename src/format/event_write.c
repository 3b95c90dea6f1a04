#include "format/event_line.h"

#include <math.h>

// JSON is UTF-8, a path may be anything: what does not belong becomes a question mark.
static enum cr_status append_text(struct cr_buffer *out, const char *text)
{
    CR_FREE char *copy = NULL;
    CR_TRY(cr_copy_string(text, &copy));
    for (size_t bad_at; !cr_utf8_valid(cr_slice_of_string(copy), &bad_at);) copy[bad_at] = '?';
    return cr_json_append_string(out, cr_slice_of_string(copy));
}

enum cr_status cr_event_line_append(const struct cr_event *event, struct cr_buffer *out)
{
    static const char *const levels[] = {"debug", "info", "warning"};
    CR_TRY(cr_append_format(out, "{\"event\": "));
    CR_TRY(append_text(out, event->name));
    CR_TRY(cr_append_format(out, ", \"level\": \"%s\"", levels[event->level]));
    if (event->message) {
        CR_TRY(cr_append_format(out, ", \"message\": "));
        CR_TRY(append_text(out, event->message));
    }
    for (size_t i = 0; i < event->field_count; i++) {
        const struct cr_event_field *field = &event->fields[i];
        CR_TRY(cr_append_format(out, ", "));
        CR_TRY(append_text(out, field->name));
        CR_TRY(cr_append_format(out, ": "));
        if (field->text)
            CR_TRY(append_text(out, field->text));
        else if (isfinite(field->number))
            CR_TRY(cr_json_append_number(out, field->number));
        else
            CR_TRY(cr_append_format(out, "null"));
    }
    return cr_append_u8(out, '}');
}
