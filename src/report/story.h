// What a run's events come to so far: where it is, how it ended, and its curves. The writer of a run
// directory feeds it as they come, `carrel status` from the file: both tell the same.
#ifndef CARREL_REPORT_STORY_H
#define CARREL_REPORT_STORY_H

#include "base/bytes.h"
#include "base/event.h"
#include "report/series.h"

#include <stdbool.h>

enum { CR_STORY_NAME = 64, CR_STORY_TEXT = 1024, CR_STORY_SILOS = 1024 };

// Numbers that are not known are NaN.
struct cr_story_silo {
    char name[CR_STORY_NAME];
    bool connected;
    bool awaited;          // was there when the present round began
    bool dropped;          // left out of the present round
    bool sending, sent;    // of a split model: what its layers made of its examples; all of it
    double examples;       // of which the server has that
    double seen;           // Unix seconds of its last event; a connected one is alive without
    double kept;           // of the last "round.progress" that cr_story_keeps said true to
    double round, trained; // that it is in; that it last answered for
    double step, steps;    // of the round
    double loss, tokens_per_second;
    double rows_verified;            // of its accelerator's products
    double eval_loss, eval_accuracy; // of a simulation's end
    struct cr_series losses;         // by round
    double told;                     // the round that it answered for since the present start
};

struct cr_story {
    char role[CR_STORY_NAME]; // "tune", "serve", "join" or "simulate"; "" before anything is known
    double began, updated;    // Unix seconds: of the present start, of the last event
    size_t starts;            // the present one among them
    bool ended;               // as it says itself; a run that was killed says nothing
    int exit_code;
    char why[CR_STORY_TEXT];     // of a failure; of a server that is done: whom it could not tell
    char waiting[CR_STORY_TEXT]; // of a silo: for what, or why it is away; of data being read: how far
    char warning[CR_STORY_TEXT]; // nobody is attested, or by something that proves nothing
    char address[CR_STORY_TEXT], output[CR_STORY_TEXT];
    char self[CR_STORY_NAME]; // the silo that a `join` is

    double step, steps, epoch, loss, learning_rate, grad_norm, tokens_per_second, eta;
    double rows_verified, pads_ready; // with slicing
    double sent, to_send;             // of a split model's silo: examples with the server, and its own
    bool serving;                     // of its server: the tuned model answers its silos
    double eval_loss, eval_accuracy;
    double round, rounds, min_clients; // the present round, from 1
    double round_began, round_seconds; // Unix seconds; how long the last one took
    struct cr_series train, eval;      // loss by step
    struct cr_series federation;       // loss by round
    struct cr_story_silo *silos;       // [silo_count] by name
    size_t silo_count;

    bool starting; // the present start may still be refused: step, steps and output are of those before
    bool fresh;    // training that has not said where it goes on from
};

void cr_story_init(struct cr_story *story);
void cr_story_release(struct cr_story *story);

// Whether a run's files should have this event, which comes next: all but signs of progress of a silo that
// told of the same round within the last ten seconds (silos tell every second, for weeks), and an answer that
// a silo which came back gives once more.
bool cr_story_keeps(struct cr_story *story, const struct cr_event *event, double time);

// Takes one more event, which came at `time`. One that it does not know only tells the time.
enum cr_status cr_story_take(struct cr_story *story, const struct cr_event *event, double time);

// Takes all that an events.jsonl holds (report/events.h).
enum cr_status cr_story_read(struct cr_story *story, const char *path);

// Appends which silos the federation waits for: "silos that are away: anne"; nothing where it goes on.
enum cr_status cr_story_append_missing(const struct cr_story *story, struct cr_buffer *out);

// Seconds until the end by the present pace, seen from `now`; NaN where nothing tells, or something is waited
// for.
double cr_story_eta(const struct cr_story *story, double now);

// What a silo does: "training", "has answered", "sending", "has sent all", "connected", "away" or "left out".
const char *cr_story_silo_state(const struct cr_story *story, const struct cr_story_silo *silo);

// Whether it is connected. One of a split model that has sent all goes, which no event tells.
bool cr_story_silo_is_here(const struct cr_story_silo *silo);

// The state in a word: "running", "finished", "stopped", "failed" or "killed". `alive`: its process is there.
const char *cr_story_state(const struct cr_story *story, bool alive);

#endif
