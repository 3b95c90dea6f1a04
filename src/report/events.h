// A run directory's events.jsonl: one event a line (format/event_line.h) with a field "time" before it, in
// Unix seconds.
#ifndef CARREL_REPORT_EVENTS_H
#define CARREL_REPORT_EVENTS_H

#include "format/event_line.h"

enum cr_status cr_events_append(struct cr_buffer *out, const struct cr_event *event, double time);

// Hands on the events of whole lines from *offset on, and moves *offset behind them. A last line that has no
// end yet is left alone. A file that is shorter than *offset was emptied, and is read from its start. A line
// that is no event is CR_INVALID with the file's name and the line's offset; a failure of `receive` is passed
// on.
enum cr_status cr_events_read(const char *path, size_t *offset,
                              enum cr_status (*receive)(void *context, const struct cr_event *event,
                                                        double time),
                              void *context);

// The same over text in memory; `name` stands in errors.
enum cr_status cr_events_parse(struct cr_slice text, const char *name, size_t *offset,
                               enum cr_status (*receive)(void *context, const struct cr_event *event,
                                                         double time),
                               void *context);

#endif
