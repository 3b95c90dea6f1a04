#include "base/event.h"

void cr_event_send(const struct cr_event_sink *sink, enum cr_event_level level, const char *name,
                   const char *message, const struct cr_event_field *fields, size_t field_count)
{
    if (!sink || !sink->receive) return;
    struct cr_event event = {level, name, message, fields, field_count};
    sink->receive(sink->context, &event);
}
