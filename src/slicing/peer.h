// Pads whose products an accelerator computes (slicing.pads: peer). It is sent pads and nothing else; what
// they hide is for other accelerators, and who sees both sees everything.
//
// Each linear and direction has pads numbered from 0. The number never goes back, so nobody is sent two
// questions under one pad. But several accelerators may be sent one each: a lane that asks for a product
// which another lane has just asked for goes by that one's pads, if its own accelerator was sent nothing
// under them. Lanes take turns (base/lanes.h), and this goes by that: between two turns of a lane each other
// one opens what it has asked and asks again, no more.
#ifndef CARREL_SLICING_PEER_H
#define CARREL_SLICING_PEER_H

#include "base/lanes.h"
#include "slicing/facts.h"
#include "slicing/link.h"

struct cr_peer;

struct cr_peer_options {
    struct cr_link_options link; // to the accelerator that is sent pads
    size_t answer;               // words of the largest answer
    const struct cr_field *field;
    const struct cr_facts *facts; // borrowed, as are field and lanes
    struct cr_lanes *lanes;
    size_t others; // accelerators that are sent what is hidden, at most 64: lane i asks number i % others
};

enum cr_status cr_peer_new(const struct cr_peer_options *options, struct cr_peer **out);
void cr_peer_free(struct cr_peer *peer); // NULL is allowed

// The pads of a question that the lane on its way is going to ask, by row: first those of another lane's.
struct cr_peer_pads {
    size_t linear;
    bool backward;
    size_t host;         // that other lane
    size_t shared;       // rows that go by its pads
    size_t rows;         // that have pads of their own, behind
    uint64_t host_first; // number of the first row's pad there
    uint64_t first;      // of the first own pad
};

// Takes numbers that nobody had before for the rows that need their own.
struct cr_peer_pads cr_peer_take(struct cr_peer *peer, size_t linear, bool backward, size_t rows);

uint64_t cr_peer_number(const struct cr_peer_pads *pads, size_t row); // of a row's pad

// Where the row's pad is to be put before cr_peer_send, [depth]; NULL: it is another lane's.
uint32_t *cr_peer_place(const struct cr_peer *peer, const struct cr_peer_pads *pads, size_t row);

// As cr_link_send and cr_link_receive, of the pads of their own. Between the two the lane passes on.
enum cr_status cr_peer_send(struct cr_peer *peer, const struct cr_peer_pads *pads);
enum cr_status cr_peer_receive(struct cr_peer *peer, const struct cr_peer_pads *pads);

// The product of the row's pad, [width], in memory that nobody else writes to: in `room`, or kept for other
// lanes. NULL: a word of it is not below p. Rows may be asked for by several threads, each once.
const uint32_t *cr_peer_product(struct cr_peer *peer, const struct cr_peer_pads *pads, size_t row,
                                uint32_t *room);

// The accelerator that was sent pads.
const char *cr_peer_name(const struct cr_peer *peer);
const char *cr_peer_engine(const struct cr_peer *peer);

#endif
