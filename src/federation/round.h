// The rounds of a federation as a pure state machine: events in, actions out; no clock, no I/O, no values.
//
//   WAITING     fewer than min_clients silos have come since this process started; no time limit
//   TRAINING    every silo that is present trains; the round closes when all that take part have answered,
//               or when min_clients have answered and the deadline has passed
//   COLLECTING  the answers of a fixed set of silos are being pulled and averaged
//
// A silo that was lost is waited for during `absence`, and then dropped from the round. What it trained stays
// on its disk, so if it comes back in time nothing is lost. A silo whose answer could not be pulled in time
// is dropped too; if too few silos are left, it may come back once, with the same answer. A silo that comes
// while a round is being collected takes part from the next round on. Silos are numbers that the caller
// assigns.
#ifndef CARREL_FEDERATION_ROUND_H
#define CARREL_FEDERATION_ROUND_H

#include "base/memory.h"
#include "crypto/hash.h"

#include <stdbool.h>

enum { CR_SILOS = 1024 }; // most silos of a federation

struct cr_round_rules {
    size_t min_clients; // at least 1
    double deadline;    // seconds; 0: none
    double absence;     // seconds that a lost silo is waited for
};

enum cr_round_phase { CR_ROUND_WAITING, CR_ROUND_TRAINING, CR_ROUND_COLLECTING };

// What a silo says that it trained.
struct cr_answer {
    uint64_t round;
    unsigned char start[CR_SHA256_SIZE];  // digest of its start values
    unsigned char digest[CR_SHA256_SIZE]; // digest of its final values
    uint64_t labelled;                    // labelled tokens
    double loss_sum;                      // sum of the losses of labelled tokens, in nats
};

struct cr_round_silo {
    bool present;      // connected and ready
    bool taking_part;  // was told to begin this round
    bool answered;     // `answer` is this round's
    bool dropped;      // from this round
    bool refused;      // dropped because its values were refused
    bool late;         // dropped because a piece of its answer did not come
    bool readmitted;   // allowed back after it was late
    bool in_set;       // part of the set that is collected
    double gone_since; // when it was lost; valid if taking_part and not present
    struct cr_answer answer;
};

struct cr_round {
    struct cr_round_rules rules;
    enum cr_round_phase phase;
    uint64_t round; // counted from 0
    unsigned char start[CR_SHA256_SIZE];
    double began;       // when TRAINING began
    double short_since; // since when too few silos are present; below zero: enough are
    struct cr_round_silo silos[CR_SILOS];
    size_t silo_count; // one more than the highest silo seen
};

enum cr_round_event_kind {
    CR_ROUND_READY,    // the silo is connected and has opened its model
    CR_ROUND_LOST,     // its connection ended
    CR_ROUND_ANSWERED, // it announces what it trained
    CR_ROUND_REFUSED,  // what was pulled from it was refused
    CR_ROUND_LATE,     // what was requested from it did not come
    CR_ROUND_TICK      // time passed
};

struct cr_round_event {
    enum cr_round_event_kind kind;
    size_t silo;                    // for all but TICK
    const struct cr_answer *answer; // for ANSWERED
};

enum cr_round_action_kind {
    CR_ROUND_BEGIN,   // tell the silo to train the current round
    CR_ROUND_COLLECT, // (again) pull the answers of all silos in the set, from the first value on
    CR_ROUND_RESUME,  // continue pulling from a silo of the set that came back with the same answer
    CR_ROUND_DROP,    // the silo was away for too long: it is left out of this round
    CR_ROUND_FAIL     // too few silos are left
};

struct cr_round_action {
    enum cr_round_action_kind kind;
    size_t silo; // for BEGIN, RESUME, DROP
};

struct cr_round_actions {
    struct cr_round_action items[2 * CR_SILOS + 2];
    size_t count;
};

// Initialises the machine before round `round`, whose start values have digest `start`.
void cr_round_init(struct cr_round *machine, const struct cr_round_rules *rules, uint64_t round,
                   const unsigned char start[CR_SHA256_SIZE]);

// Handles an event. `now` is monotonic seconds. Sets *actions to what the caller must do, in this order. An
// answer to another round, or from other start values, leads to BEGIN; a repeated answer of a silo in the set
// that is collected leads to RESUME.
void cr_round_handle(struct cr_round *machine, double now, const struct cr_round_event *event,
                     struct cr_round_actions *actions);

// Call it when the collection is complete and stored: the next round begins, with start values of digest
// `start`.
void cr_round_next(struct cr_round *machine, double now, const unsigned char start[CR_SHA256_SIZE],
                   struct cr_round_actions *actions);

#endif
