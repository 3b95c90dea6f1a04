#include "report/events.h"

#include "base/file.h"

#include <string.h>

enum cr_status cr_events_append(struct cr_buffer *out, const struct cr_event *event, double time)
{
    CR_CLEANUP(cr_buffer_release) struct cr_buffer line = {0};
    CR_TRY(cr_event_line_append(event, &line));
    return cr_append_format(out, "{\"time\": %.3f, %s\n", time, cr_buffer_text(&line) + 1);
}

static enum cr_status
take_line(struct cr_slice text, const char *name, size_t offset,
          enum cr_status (*receive)(void *context, const struct cr_event *event, double time), void *context)
{
    CR_CLEANUP(cr_event_line_release) struct cr_event_line line = {0};
    if (text.size > CR_EVENT_LINE_LIMIT)
        return cr_fail(CR_INVALID, "%s: at byte %zu: a line of %zu bytes", name, offset, text.size);
    enum cr_status status = cr_event_line_parse(text, "event", &line);
    if (status != CR_OK) return cr_fail_within(status, "%s: at byte %zu", name, offset);
    double time = cr_event_number(&line.event, "time");
    if (!(time >= 0 && time < 1e12))
        return cr_fail(CR_INVALID, "%s: at byte %zu: an event without its time", name, offset);
    size_t kept = 0; // all fields but that one
    for (size_t i = 0; i < line.event.field_count; i++)
        if (strcmp(line.fields[i].name, "time") != 0) line.fields[kept++] = line.fields[i];
    line.event.field_count = kept;
    return receive(context, &line.event, time);
}

enum cr_status cr_events_parse(struct cr_slice text, const char *name, size_t *offset,
                               enum cr_status (*receive)(void *context, const struct cr_event *event,
                                                         double time),
                               void *context)
{
    while (*offset < text.size) {
        const unsigned char *start = text.data + *offset;
        const unsigned char *end = memchr(start, '\n', text.size - *offset);
        if (!end) return CR_OK;
        size_t size = (size_t)(end - start);
        CR_TRY(take_line((struct cr_slice){start, size}, name, *offset, receive, context));
        *offset += size + 1;
    }
    return CR_OK;
}

enum cr_status cr_events_read(const char *path, size_t *offset,
                              enum cr_status (*receive)(void *context, const struct cr_event *event,
                                                        double time),
                              void *context)
{
    CR_CLEANUP(cr_file_unmap) struct cr_slice text = {0};
    CR_TRY(cr_file_map(path, &text));
    if (text.size < *offset) return cr_fail(CR_INVALID, "%s: it became shorter while it was read", path);
    return cr_events_parse(text, path, offset, receive, context);
}
