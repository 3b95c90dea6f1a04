// How library code reports progress without printing: named events with fields, passed to a sink that the
// caller supplies. The main programs turn them into a progress line, plain lines or JSON lines.
#ifndef CARREL_BASE_EVENT_H
#define CARREL_BASE_EVENT_H

#include <stddef.h>

enum cr_event_level { CR_EVENT_DEBUG, CR_EVENT_INFO, CR_EVENT_WARNING };

struct cr_event_field {
    const char *name;
    const char *text; // NULL for a number
    double number;
};

#define CR_FIELD_TEXT(field_name, value) ((struct cr_event_field){.name = (field_name), .text = (value)})
#define CR_FIELD(field_name, value) ((struct cr_event_field){.name = (field_name), .number = (double)(value)})

struct cr_event {
    enum cr_event_level level;
    const char *name;    // "train.step", "round.done", ...: listed in docs/PROTOCOL.md
    const char *message; // for a person; may be NULL if the fields suffice
    const struct cr_event_field *fields;
    size_t field_count;
};

// `receive` is called on the thread that sends the event, and must not keep pointers into it. A zeroed sink
// discards all events.
struct cr_event_sink {
    void (*receive)(void *context, const struct cr_event *event);
    void *context;
};

void cr_event_send(const struct cr_event_sink *sink, enum cr_event_level level, const char *name,
                   const char *message, const struct cr_event_field *fields, size_t field_count);

// Look up a field by name: the field, or NULL; its number, or NaN if it is absent or a text; its text, or
// NULL.
const struct cr_event_field *cr_event_field(const struct cr_event *event, const char *name);
double cr_event_number(const struct cr_event *event, const char *name);
const char *cr_event_text(const struct cr_event *event, const char *name);

// cr_emit(sink, CR_EVENT_INFO, "train.step", NULL, CR_FIELD("step", 3), CR_FIELD("loss", 1.5));
#define cr_emit(sink, level, name, message, ...)                                                             \
    cr_event_send((sink), (level), (name), (message), (const struct cr_event_field[]){__VA_ARGS__},          \
                  sizeof((const struct cr_event_field[]){__VA_ARGS__}) / sizeof(struct cr_event_field))

#endif
