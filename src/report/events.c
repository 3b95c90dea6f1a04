#include "report/events.h"
#include "base/file.h"

#include <string.h>

enum { PIECE = CR_EVENT_LINE_LIMIT + 1 }; // bytes read at a time: the longest line and its line break

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
    enum cr_status status = cr_event_line_parse(text, "event", &line);
    if (status != CR_OK) return cr_fail_within(status, "%s: at byte %zu", name, offset);
    double time = cr_event_number(&line.event, "time");
    if (!(time >= 0 && time < 1e12))
        return cr_fail(CR_INVALID, "%s: at byte %zu: an event without its time", name, offset);
    size_t kept = 0; // all fields except "time"
    for (size_t i = 0; i < line.event.field_count; i++)
        if (strcmp(line.fields[i].name, "time") != 0) line.fields[kept++] = line.fields[i];
    line.event.field_count = kept;
    return receive(context, &line.event, time);
}

// `base`: the text's offset in the file; *used: bytes of complete lines.
static enum cr_status
take_lines(struct cr_slice text, const char *name, size_t base, size_t *used,
           enum cr_status (*receive)(void *context, const struct cr_event *event, double time), void *context)
{
    while (*used < text.size) {
        const unsigned char *start = text.data + *used;
        const unsigned char *end = memchr(start, '\n', text.size - *used);
        struct cr_slice line = {start, end ? (size_t)(end - start) : text.size - *used};
        if (line.size > CR_EVENT_LINE_LIMIT)
            return cr_fail(CR_INVALID, "%s: at byte %zu: a line of more than %d bytes", name, base + *used,
                           CR_EVENT_LINE_LIMIT);
        if (!end) return CR_OK;
        CR_TRY(take_line(line, name, base + *used, receive, context));
        *used += line.size + 1;
    }
    return CR_OK;
}

enum cr_status cr_events_parse(struct cr_slice text, const char *name, size_t *offset,
                               enum cr_status (*receive)(void *context, const struct cr_event *event,
                                                         double time),
                               void *context)
{
    return take_lines(text, name, 0, offset, receive, context);
}

// Appends the file's bytes from `offset` on, at most PIECE.
static enum cr_status read_piece(int fd, const char *path, size_t offset, struct cr_buffer *out)
{
    unsigned char chunk[65536];
    while (out->size < PIECE) {
        size_t wanted = cr_least(PIECE - out->size, sizeof chunk), got;
        CR_TRY(cr_file_read_at(fd, path, offset + out->size, chunk, wanted, &got));
        CR_TRY(cr_append(out, chunk, got));
        if (got < wanted) break;
    }
    return CR_OK;
}

// Read, not mapped: on a full disk the writer may truncate the file meanwhile.
enum cr_status cr_events_read(const char *path, size_t *offset,
                              enum cr_status (*receive)(void *context, const struct cr_event *event,
                                                        double time),
                              void *context)
{
    CR_CLEANUP(cr_file_close) int fd = -1;
    size_t size; // the file may grow meanwhile
    CR_TRY(cr_file_open(path, &fd, &size));
    if (size < *offset) *offset = 0; // the file was emptied
    CR_CLEANUP(cr_buffer_release) struct cr_buffer piece = {0};
    for (;;) {
        cr_buffer_clear(&piece);
        CR_TRY(read_piece(fd, path, *offset, &piece));
        size_t used = 0;
        enum cr_status status = take_lines(cr_buffer_slice(&piece), path, *offset, &used, receive, context);
        *offset += used;
        if (status != CR_OK || used == 0) return status;
    }
}
