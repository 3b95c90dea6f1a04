// A run directory's events.jsonl: one event per line (format/event_line.h), with a first field "time" in Unix
// seconds.
#ifndef CARREL_REPORT_EVENTS_H
#define CARREL_REPORT_EVENTS_H

#include "format/event_line.h"

enum cr_status cr_events_append(struct cr_buffer *out, const struct cr_event *event, double time);

// Passes the events of complete lines from *offset on to `receive`, and moves *offset past them. An
// incomplete last line is left for the next call. A file shorter than *offset was emptied, and is read from
// its start. A line that is not an event is CR_INVALID, with the file's name and the line's offset; a failure
// of `receive` is returned.
enum cr_status cr_events_read(const char *path, size_t *offset,
                              enum cr_status (*receive)(void *context, const struct cr_event *event,
                                                        double time),
                              void *context);

// The same for text in memory; `name` is for error messages.
enum cr_status cr_events_parse(struct cr_slice text, const char *name, size_t *offset,
                               enum cr_status (*receive)(void *context, const struct cr_event *event,
                                                         double time),
                               void *context);

#endif
