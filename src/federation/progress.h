// Writes events for people and programs: as JSON lines on stdout, or as sentences on stderr, with one live
// line if stderr is a terminal. The programs' mains pass its sink to whatever does the work.
#ifndef CARREL_FEDERATION_PROGRESS_H
#define CARREL_FEDERATION_PROGRESS_H

#include "base/bytes.h"
#include "base/event.h"

#include <stdbool.h>
#include <stdio.h>

struct cr_progress {
    FILE *out;
    bool json;
    bool live;                // `out` is a terminal, whose last line can be overwritten
    bool live_shown;          // the last line will be overwritten
    double last_line;         // when the last line was written
    int broken;               // why events cannot be written (an errno, but not a full disk's), or 0; the
                              // program should end
    int quick;                // a non-blocking descriptor of `out`; 0: none
    struct cr_buffer waiting; // what could not be written yet
    size_t lost;              // events for which `waiting` or memory had no room
};

// JSON goes to stdout, sentences to stderr.
void cr_progress_init(struct cr_progress *progress, bool json);
struct cr_event_sink cr_progress_sink(struct cr_progress *progress);

// From now on a pipe that is not read, or a stopped terminal, does not block the work. Up to 1 MiB waits for
// it, and is tried again with each event and each tick. The number of events beyond that is reported
// ("output.lost").
void cr_progress_never_wait(struct cr_progress *progress);
void cr_progress_tick(struct cr_progress *progress);

// Clears the live line, so that something else can be written to the terminal. Returns `status`, which is the
// work's, or CR_IO if the events can no longer be written. What a full disk did not take is lost.
enum cr_status cr_progress_end(struct cr_progress *progress, enum cr_status status);

// Appends the event's sentence, or nothing if it has none. If the sentence has more than `most` bytes,
// appends its shorter form if there is one.
enum cr_status cr_event_sentence(const struct cr_event *event, size_t most, struct cr_buffer *out);

#endif
