// The inside of struct cr_slicing, shared by the files that implement it.
#ifndef CARREL_SLICING_PARTS_H
#define CARREL_SLICING_PARTS_H

#include "slicing/link.h"
#include "slicing/pad.h"
#include "slicing/pads.h"
#include "slicing/peer.h"
#include "slicing/slicing.h"

// A question has at most so many rows, and it and its answer so many words each: what is shared with an
// accelerator does not grow with a vocabulary.
enum { CR_MOST_ROWS = 1024, CR_MOST_WORDS = 1 << 24, CR_BUCKETS = 256 };

// A frozen linear whose products are asked for.
struct cr_masked {
    struct cr_slicing *slicing;
    size_t index; // of model/frozen.h
};

// A thread's own.
struct cr_masked_scratch {
    struct cr_pad_pair pads;
    uint32_t *words, *pad; // [longest row]
    float *values;         // [longest row]
};

// Of the question of one lane on its way.
struct cr_masked_lane {
    struct cr_link *link;
    double *t;               // [CR_MOST_ROWS, the most parts of a sum]
    uint32_t (*expected)[2]; // [CR_MOST_ROWS], secret
    uint8_t *wrong;          // [CR_MOST_ROWS]: of a row that does not pass, enum cr_wrong
};

// What is wrong by itself about a row that does not pass its check, as bits.
enum cr_wrong { CR_WRONG_ANSWER = 1, CR_WRONG_PAD = 2 };

struct cr_slicing {
    struct cr_model *model;
    struct cr_compute *compute; // the model's
    struct cr_field *field;
    struct cr_facts facts;
    struct cr_pads *pads; // this or the next one is NULL
    struct cr_peer *peer;
    struct cr_lanes *lanes;            // borrowed
    struct cr_masked_lane *lane;       // [lanes]
    struct cr_masked *linears;         // [facts.count]
    struct cr_masked_scratch *scratch; // [threads]
    bool failed;
    char culprit[640]; // then: who
    struct cr_slicing_tally tally;
    uint64_t buckets[CR_BUCKETS];
};

// The provider of linears whose `state` is a struct cr_masked.
extern const struct cr_linear_provider cr_masked_provider;

// Rows of one question of that kind, at most.
size_t cr_masked_rows(const struct cr_way *way);

#endif
