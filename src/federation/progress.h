// Events for people and programs: JSON lines on stdout, or sentences on stderr with one live line where
// stderr is a terminal. The mains hand its sink to whatever works.
#ifndef CARREL_FEDERATION_PROGRESS_H
#define CARREL_FEDERATION_PROGRESS_H

#include "base/bytes.h"
#include "base/event.h"

#include <stdbool.h>
#include <stdio.h>

struct cr_progress {
    FILE *out;
    bool json;
    bool live;        // a terminal, which can overwrite its last line
    bool live_shown;  // the last line is to be overwritten
    double last_line; // when the last line was written
    int broken;       // errno of a write that failed, but for want of room, or 0: the program should end
    int quick;        // a descriptor of `out` that never waits; 0: there is none
    struct cr_buffer waiting; // what could not be written yet
    size_t lost;              // events that found no room there
};

// JSON goes to stdout, sentences to stderr.
void cr_progress_init(struct cr_progress *progress, bool json);
struct cr_event_sink cr_progress_sink(struct cr_progress *progress);

// From here on nobody who leaves a pipe unread, or a terminal stopped, holds up the work: a MiB waits for
// them, and is tried again with each event and each tick. The number of events beyond that is told
// ("output.lost").
void cr_progress_never_wait(struct cr_progress *progress);
void cr_progress_tick(struct cr_progress *progress);

// Clears the live line, before something else is written to the terminal. Passes `status`, the work's, on;
// where nobody takes the events any more it is CR_IO instead. What a full disk did not take is lost.
enum cr_status cr_progress_end(struct cr_progress *progress, enum cr_status status);

// Appends the event's sentence (nothing where it has none); where it has more bytes than `most`, a briefer
// one if there is one.
enum cr_status cr_event_sentence(const struct cr_event *event, size_t most, struct cr_buffer *out);

#endif
