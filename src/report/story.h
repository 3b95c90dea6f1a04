// The state of a run, derived from its events so far: its progress, how it ended, and its curves. The writer
// of a run directory feeds it events as they come, `carrel status` feeds it the file; both get the same.
#ifndef CARREL_REPORT_STORY_H
#define CARREL_REPORT_STORY_H

#include "base/bytes.h"
#include "base/event.h"
#include "report/series.h"

#include <stdbool.h>

enum { CR_STORY_NAME = 64, CR_STORY_TEXT = 1024, CR_STORY_SILOS = 1024 };

// Unknown numbers are NaN.
struct cr_story_silo {
    char name[CR_STORY_NAME];
    bool connected;
    bool awaited;          // was connected when the current round began
    bool dropped;          // left out of the current round
    bool sending, sent;    // of a split model: is sending its layers' results; has sent all
    double examples;       // examples whose results the server has
    double seen;           // Unix seconds of its last event
    double kept;           // Unix seconds of the last "round.progress" that cr_story_keeps accepted
    double round, trained; // the round it is in; the last round it answered
    double step, steps;    // within the round
    double loss, tokens_per_second;
    double rows_verified;            // rows of its accelerator's products
    double eval_loss, eval_accuracy; // at a simulation's end
    struct cr_series losses;         // by round
    double told;                     // the last round it answered since the current start
};

struct cr_story {
    char role[CR_STORY_NAME]; // "tune", "serve", "join" or "simulate"; "" before anything is known
    char kind[CR_STORY_NAME]; // the role of the last start that was accepted, whose figures these are
    double began, updated;    // Unix seconds of the current start, of the last event
    size_t starts;            // including the current one
    bool ended;               // by its own events; a killed run has none for this
    int exit_code;
    char why[CR_STORY_TEXT];     // of a failure; of a finished server: which silos it could not notify
    char waiting[CR_STORY_TEXT]; // of a silo: for what it waits, or why it is away; of reading data: how far
    char warning[CR_STORY_TEXT]; // that there is no attestation, or one that proves nothing
    char address[CR_STORY_TEXT], output[CR_STORY_TEXT];
    char self[CR_STORY_NAME]; // name of the silo, if the run is a `join`

    double step, steps, epoch, loss, learning_rate, grad_norm, tokens_per_second, eta;
    double rows_verified, pads_ready; // with slicing
    double sent, to_send; // of a split model's silo: examples sent to the server, and all its examples
    bool serving;         // of a split model's server: it answers silos with the tuned model
    double eval_loss, eval_accuracy;
    double round, rounds, min_clients; // the current round, from 1
    double round_began, round_seconds; // Unix seconds; seconds of the last round
    struct cr_series train, eval;      // loss by step
    struct cr_series federation;       // loss by round
    struct cr_story_silo *silos;       // [silo_count], sorted by name
    size_t silo_count;

    bool starting; // the current start may still be refused: step, steps and output are of earlier ones
    bool fresh;    // training that has not yet reported where it continues
};

void cr_story_init(struct cr_story *story);
void cr_story_release(struct cr_story *story);

// Whether to write the next event to a run's files: all but progress of a silo within ten seconds of its last
// written progress in the same round (silos report every second, for weeks), and an answer that a reconnected
// silo repeats.
bool cr_story_keeps(struct cr_story *story, const struct cr_event *event, double time);

// Takes the next event, which came at `time`. An unknown event only updates the time.
enum cr_status cr_story_take(struct cr_story *story, const struct cr_event *event, double time);

// Takes all events of an events.jsonl (report/events.h).
enum cr_status cr_story_read(struct cr_story *story, const char *path);

// Appends the silos for which the federation waits: "silos that are away: anne"; nothing if it does not wait.
enum cr_status cr_story_append_missing(const struct cr_story *story, struct cr_buffer *out);

// Estimated seconds from `now` until the end; NaN if unknown, or while the run waits.
double cr_story_eta(const struct cr_story *story, double now);

// A silo's state: "training", "has answered", "sending", "has sent all", "connected", "away" or "left out".
const char *cr_story_silo_state(const struct cr_story *story, const struct cr_story_silo *silo);

// Whether the silo is connected. A split model's silo disconnects after it has sent all, without an event.
bool cr_story_silo_is_here(const struct cr_story_silo *silo);

// The run's state: "running", "finished", "stopped", "failed" or "killed". `alive`: its process exists.
const char *cr_story_state(const struct cr_story *story, bool alive);

#endif
