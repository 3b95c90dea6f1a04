// Pads whose products an accelerator computes (slicing.pads: peer). That accelerator is sent pads only;
// masked questions go to the other accelerators. Whoever sees both learns everything.
//
// Each linear and direction has pads numbered from 0. The number never goes back, so no accelerator is sent
// two questions under one pad. But one pad may mask one question for each of several accelerators: a lane
// that asks for a product for which another lane has just asked uses that lane's pads, if its own accelerator
// was sent nothing under them. This relies on lanes taking turns (base/lanes.h): between two turns of a lane,
// each other lane opens its last answer and asks once more, and does no more than that.
#ifndef CARREL_SLICING_PEER_H
#define CARREL_SLICING_PEER_H

#include "base/lanes.h"
#include "slicing/facts.h"
#include "slicing/link.h"

struct cr_peer;

struct cr_peer_options {
    struct cr_link_options link; // to the accelerator that computes the pads' products
    size_t answer;               // words of the largest answer
    const struct cr_field *field;
    const struct cr_facts *facts; // borrowed, like field and lanes
    struct cr_lanes *lanes;
    size_t others; // number of the other accelerators, at most 64: lane i asks number i % others
};

enum cr_status cr_peer_new(const struct cr_peer_options *options, struct cr_peer **out);
void cr_peer_free(struct cr_peer *peer); // NULL is allowed

// The pads of the current lane's next question, by row: first those shared with another lane, then its own.
struct cr_peer_pads {
    size_t linear;
    bool backward;
    size_t host;         // the other lane whose pads are shared
    size_t shared;       // rows that use its pads
    size_t rows;         // rows after these, which have pads of their own
    uint64_t host_first; // number of the first shared pad
    uint64_t first;      // number of the first own pad
};

// Chooses the pads of a question of `rows` rows, with unused numbers for the rows that need their own.
struct cr_peer_pads cr_peer_take(struct cr_peer *peer, size_t linear, bool backward, size_t rows);

uint64_t cr_peer_number(const struct cr_peer_pads *pads, size_t row); // number of the row's pad

// Where to write the row's pad, [depth], before cr_peer_send; NULL if the row uses another lane's pad.
uint32_t *cr_peer_place(const struct cr_peer *peer, const struct cr_peer_pads *pads, size_t row);

// Like cr_link_send and cr_link_receive, for the rows that have pads of their own. The lane yields
// (cr_lanes_pass_on) between the two.
enum cr_status cr_peer_send(struct cr_peer *peer, const struct cr_peer_pads *pads);
enum cr_status cr_peer_receive(struct cr_peer *peer, const struct cr_peer_pads *pads);

// The product of the row's pad, [width], in memory that only this process writes to: in `room` [width], or in
// what the lane keeps for other lanes. NULL if a word of it is not below p. Threads may ask for different
// rows at the same time; ask for each row once.
const uint32_t *cr_peer_product(struct cr_peer *peer, const struct cr_peer_pads *pads, size_t row,
                                uint32_t *room);

// The accelerator that computes the pads' products.
const char *cr_peer_name(const struct cr_peer *peer);
const char *cr_peer_engine(const struct cr_peer *peer);

#endif
