// Events as lines of JSON: {"event": name, "level": ..., "message": ..., and the fields}. docs/PROTOCOL.md
// lists them.
#ifndef CARREL_FORMAT_EVENT_LINE_H
#define CARREL_FORMAT_EVENT_LINE_H

#include "base/event.h"
#include "format/json.h"

// Appends the event as one line without its end. A number that JSON cannot write is null.
enum cr_status cr_event_line_append(const struct cr_event *event, struct cr_buffer *out);

// Bytes of a line (a job of 1 MiB fits, escaped); fields of its event.
enum { CR_EVENT_LINE_LIMIT = 8 << 20, CR_EVENT_LINE_FIELDS = 32 };

// A line that was read. The event points into it. Release with cr_event_line_release (usable with
// CR_CLEANUP).
struct cr_event_line {
    struct cr_event event;
    struct cr_event_field fields[CR_EVENT_LINE_FIELDS];
    struct cr_json *root;
};

// Takes what cr_event_line_append writes, keys in any order; null is NaN. Anything else is CR_INVALID; `name`
// stands in the sentence.
enum cr_status cr_event_line_parse(struct cr_slice text, const char *name, struct cr_event_line *out);
void cr_event_line_release(struct cr_event_line *line);

#endif
