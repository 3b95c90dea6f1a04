// Events as lines of JSON: {"event": name, "level": ..., "message": ..., and the event's fields}.
// docs/PROTOCOL.md lists them.
#ifndef CARREL_FORMAT_EVENT_LINE_H
#define CARREL_FORMAT_EVENT_LINE_H

#include "base/event.h"
#include "format/json.h"

// Appends the event as one line, without a line break. NaN and infinities become null.
enum cr_status cr_event_line_append(const struct cr_event *event, struct cr_buffer *out);

// The most bytes of a line (enough for an escaped job of 1 MiB), and the most fields of an event.
enum { CR_EVENT_LINE_LIMIT = 8 << 20, CR_EVENT_LINE_FIELDS = 32 };

// A parsed line. `event` points into the rest of the struct. Release with cr_event_line_release (usable with
// CR_CLEANUP).
struct cr_event_line {
    struct cr_event event;
    struct cr_event_field fields[CR_EVENT_LINE_FIELDS];
    struct cr_json *root;
};

// Parses what cr_event_line_append writes, with keys in any order; null is read as NaN. Anything else is
// CR_INVALID; `name` appears in the error message.
enum cr_status cr_event_line_parse(struct cr_slice text, const char *name, struct cr_event_line *out);
void cr_event_line_release(struct cr_event_line *line);

#endif
