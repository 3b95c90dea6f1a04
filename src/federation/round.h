// The rounds of a federation as a pure state machine: events in, actions out; no clock, no I/O, no values.
//
//   WAITING     fewer silos than min_clients have come yet in this process's life: no limit of time
//   TRAINING    every silo that is present trains; the round closes when all that take part have answered,
//               or min_clients have and the deadline has passed
//   COLLECTING  the answers of a fixed set of silos are being pulled and averaged
//
// A silo that was lost is waited for as long as `absence`, and then dropped from the round. What it trained
// stays on its disk, so coming back within that time loses nothing. One whose answer could not be pulled in
// time is dropped too; where too few are left, it may come back once, with the same answer. A silo that comes
// while a round is being collected takes part from the next one on. Silos are numbers given by the caller.
#ifndef CARREL_FEDERATION_ROUND_H
#define CARREL_FEDERATION_ROUND_H

#include "base/memory.h"
#include "crypto/hash.h"

#include <stdbool.h>

enum { CR_SILOS = 1024 }; // at most, of one federation

struct cr_round_rules {
    size_t min_clients; // at least 1
    double deadline;    // seconds; 0: none
    double absence;     // seconds
};

enum cr_round_phase { CR_ROUND_WAITING, CR_ROUND_TRAINING, CR_ROUND_COLLECTING };

// What a silo says it trained.
struct cr_answer {
    uint64_t round;
    unsigned char start[CR_SHA256_SIZE];  // of the values it began with
    unsigned char digest[CR_SHA256_SIZE]; // of the values it ended with
    uint64_t labelled;                    // tokens
    double loss_sum;                      // nats over labelled tokens
};

struct cr_round_silo {
    bool present;      // connected and ready
    bool taking_part;  // was told to begin this round
    bool answered;     // `answer` is this round's
    bool dropped;      // from this round
    bool refused;      // and that because its values were refused
    bool late;         // and that because a piece of its answer did not come
    bool readmitted;   // after that
    bool in_set;       // of the collection
    double gone_since; // while taking part and not present
    struct cr_answer answer;
};

struct cr_round {
    struct cr_round_rules rules;
    enum cr_round_phase phase;
    uint64_t round; // counted from 0
    unsigned char start[CR_SHA256_SIZE];
    double began;       // TRAINING: when
    double short_since; // below zero: enough silos are present
    struct cr_round_silo silos[CR_SILOS];
    size_t silo_count; // one more than the highest silo seen
};

enum cr_round_event_kind {
    CR_ROUND_READY,    // the silo is connected and its model is open
    CR_ROUND_LOST,     // its connection ended
    CR_ROUND_ANSWERED, // it says what it trained
    CR_ROUND_REFUSED,  // what was pulled from it was refused
    CR_ROUND_LATE,     // what was to be pulled from it did not come
    CR_ROUND_TICK      // time passed
};

struct cr_round_event {
    enum cr_round_event_kind kind;
    size_t silo;                    // all but TICK
    const struct cr_answer *answer; // ANSWERED
};

enum cr_round_action_kind {
    CR_ROUND_BEGIN,   // tell the silo to train the present round
    CR_ROUND_COLLECT, // (again) pull the answers of all silos in the set, from the first value on
    CR_ROUND_RESUME,  // go on pulling from a silo of the set that came back with the same answer
    CR_ROUND_DROP,    // the silo was away for too long: it is left out of this one
    CR_ROUND_FAIL     // too few silos are left
};

struct cr_round_action {
    enum cr_round_action_kind kind;
    size_t silo; // BEGIN, RESUME, DROP
};

struct cr_round_actions {
    struct cr_round_action items[2 * CR_SILOS + 2];
    size_t count;
};

// Begins before `round` with global values of digest `start`.
void cr_round_init(struct cr_round *machine, const struct cr_round_rules *rules, uint64_t round,
                   const unsigned char start[CR_SHA256_SIZE]);

// `now`: seconds that never go back. Sets *actions to what is to be done, in this order. An answer to another
// round, or from other start values, is met with BEGIN; a repeated one with nothing.
void cr_round_handle(struct cr_round *machine, double now, const struct cr_round_event *event,
                     struct cr_round_actions *actions);

// The collection is complete and stored: the next round begins, from values of digest `start`.
void cr_round_next(struct cr_round *machine, double now, const unsigned char start[CR_SHA256_SIZE],
                   struct cr_round_actions *actions);

#endif
