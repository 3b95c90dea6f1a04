#include "base/event.h"

#include <math.h>
#include <string.h>

void cr_event_send(const struct cr_event_sink *sink, enum cr_event_level level, const char *name,
                   const char *message, const struct cr_event_field *fields, size_t field_count)
{
    if (!sink || !sink->receive) return;
    struct cr_event event = {level, name, message, fields, field_count};
    sink->receive(sink->context, &event);
}

const struct cr_event_field *cr_event_field(const struct cr_event *event, const char *name)
{
    for (size_t i = 0; i < event->field_count; i++)
        if (strcmp(event->fields[i].name, name) == 0) return &event->fields[i];
    return NULL;
}

double cr_event_number(const struct cr_event *event, const char *name)
{
    const struct cr_event_field *field = cr_event_field(event, name);
    return field && !field->text ? field->number : NAN;
}

const char *cr_event_text(const struct cr_event *event, const char *name)
{
    const struct cr_event_field *field = cr_event_field(event, name);
    return field ? field->text : NULL;
}
