// A hostile events.jsonl, through all that reads it: the story, what is written from it, and the numbers.
#include "federation/progress.h"
#include "report/events.h"
#include "report/metrics.h"
#include "report/page.h"
#include "report/prometheus.h"

#include <stdlib.h>
#include <string.h>

struct reader {
    struct cr_story story;
    struct cr_buffer out;
};

static enum cr_status take(void *context, const struct cr_event *event, double time)
{
    struct reader *reader = context;
    if (cr_story_take(&reader->story, event, time) != CR_OK) abort();
    if (cr_metrics_append_line(&reader->out, event, time) != CR_OK) abort();
    if (cr_metrics_append_scalars(&reader->out, event, time) != CR_OK) abort();
    if (cr_event_sentence(event, SIZE_MAX, &reader->out) != CR_OK) abort();
    if (cr_event_sentence(event, 40, &reader->out) != CR_OK) abort();
    // What was read can be written, and read again.
    cr_buffer_clear(&reader->out);
    if (cr_event_line_append(event, &reader->out) != CR_OK) abort();
    struct cr_event_line line;
    if (cr_event_line_parse(cr_buffer_slice(&reader->out), "again", &line) != CR_OK) abort();
    if (line.event.field_count != event->field_count) abort();
    cr_event_line_release(&line);
    return CR_OK;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct reader reader = {0};
    cr_story_init(&reader.story);
    size_t offset = 0;
    while (cr_events_parse((struct cr_slice){data, size}, "events", &offset, take, &reader) != CR_OK) {
        const unsigned char *end = memchr(data + offset, '\n', size - offset);
        if (!end) break;
        offset = (size_t)(end - data) + 1;
    }
    if (cr_page_append(&reader.out, &reader.story, "fuzz.run", "", true, 2e9) != CR_OK) abort();
    if (cr_prometheus_append(&reader.out, &reader.story, 7) != CR_OK) abort();
    cr_buffer_release(&reader.out);
    cr_story_release(&reader.story);
    return 0;
}
