// The inside of struct cr_slicing, shared by the files that implement it.
#ifndef CARREL_SLICING_PARTS_H
#define CARREL_SLICING_PARTS_H

#include "slicing/link.h"
#include "slicing/pad.h"
#include "slicing/pads.h"
#include "slicing/peer.h"
#include "slicing/slicing.h"

// Limits of one question: its rows, and the words of it and of its answer (each). So the memory shared with
// an accelerator does not grow with the vocabulary.
enum { CR_MOST_ROWS = 1024, CR_MOST_WORDS = 1 << 24, CR_BUCKETS = 256 };

// State of a frozen linear whose products an accelerator computes.
struct cr_masked {
    struct cr_slicing *slicing;
    size_t index; // of the linear, as in model/frozen.h
};

// One for each thread.
struct cr_masked_scratch {
    struct cr_pad_pair pads;
    uint32_t *words, *pad; // [longest row]
    float *values;         // [longest row]
};

// One lane's link, and its question in flight.
struct cr_masked_lane {
    struct cr_link *link;
    double *t;               // [CR_MOST_ROWS][facts.parts]: rounding steps of the rows
    uint32_t (*expected)[2]; // [CR_MOST_ROWS]: sums that correct answers have, secret
    uint8_t *wrong;          // [CR_MOST_ROWS]: for a row that fails its check, bits of enum cr_wrong
};

// Whose answer to its own question is wrong, for a row that fails its check; bits.
enum cr_wrong { CR_WRONG_ANSWER = 1, CR_WRONG_PAD = 2 };

struct cr_slicing {
    struct cr_model *model;
    struct cr_compute *compute; // the model's
    struct cr_field *field;
    struct cr_facts facts;
    struct cr_pads *pads; // either this or `peer` is NULL
    struct cr_peer *peer;
    struct cr_lanes *lanes;            // borrowed
    struct cr_masked_lane *lane;       // [lanes]
    struct cr_masked *linears;         // [facts.count]
    struct cr_masked_scratch *scratch; // [threads]
    bool failed;
    char culprit[640]; // if failed: the accelerators that were wrong
    struct cr_slicing_tally tally;
    uint64_t buckets[CR_BUCKETS];
};

// The provider of linears whose `state` is a struct cr_masked.
extern const struct cr_linear_provider cr_masked_provider;

// The most rows that one question of this linear and direction may have.
size_t cr_masked_rows(const struct cr_way *way);

#endif
