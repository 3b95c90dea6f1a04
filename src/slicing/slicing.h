// Model slicing: the products with the frozen matrices of a model are computed by an accelerator that nobody
// trusts, on numbers hidden under one-time pads, and verified before they are used. docs/NUMERICS.md has the
// arithmetic, docs/THREAT-MODEL.md what it gives.
#ifndef CARREL_SLICING_SLICING_H
#define CARREL_SLICING_SLICING_H

#include "base/lanes.h"
#include "model/model.h"

struct cr_slicing_options {
    // Addresses as of crypto/stream.h. One: this process makes the products of pads itself. More: the first
    // makes them, and knows the pads; what they hide is for each other one (slicing/peer.h).
    char *const *accelerators;
    size_t accelerator_count;
    unsigned digits;        // of a word: 4, or 3 for less work and some 1% error
    size_t rows;            // of a walk, at most
    struct cr_lanes *lanes; // that walk, each with connections of its own, and pass on while the accelerator
                            // works; borrowed, NULL: one
    size_t threads;         // that make pads
    double patience;        // seconds without a sign of life of the accelerator
};

struct cr_slicing;

// Connects, reads every frozen matrix of `model` (of CR_MODEL_OUTSIDE) once and takes the place of its
// linears; all its products go to the accelerator from here on. `model` is borrowed and may only be used
// while *out is. A fresh root key is drawn here and never stored. A part of a model needs the whole
// checkpoint, which the accelerator has as well.
//
// A product fails with CR_DENIED where an answer does not pass its check: the sentence names accelerator,
// linear and row, nothing of the answer is in the result, and no product succeeds any more. Of several
// accelerators it names whose answer is wrong by itself.
enum cr_status cr_slicing_open(const struct cr_slicing_options *options, struct cr_model *model,
                               struct cr_slicing **out);
void cr_slicing_close(struct cr_slicing *slicing); // wipes; NULL is allowed

// What slicing with so many accelerators adds to a walk of so many rows through a model of that shape, from
// layer `first` on, bytes: what the trusted process holds of its own (facts of the matrices, pads on their
// way; while it opens one matrix), and one matrix and products of pads outside of it.
struct cr_slicing_memory {
    size_t inside, outside;
};
struct cr_slicing_memory cr_slicing_memory_of(struct cr_model *model, size_t rows, size_t lanes,
                                              size_t accelerators, size_t first);

// What was done so far.
struct cr_slicing_tally {
    uint64_t products; // asked of accelerators, those of pads not counted
    uint64_t rows;     // verified
    uint64_t pads;     // used
    bool ahead;        // this process makes pads ahead of their use
    uint64_t ready;    // pads that were made and not used yet
    uint64_t blinded;  // bytes of blinded words sent
    size_t outside;    // bytes that pads' products, and a matrix to make them with, take outside, at most
    double blinding, opening; // seconds: rounding and hiding; verifying and bringing to numbers
    double processors;        // seconds of processors that this process used meanwhile, pads' making included
    double accelerator;       // seconds that answers were waited for
    double waiting;           // seconds that pads were waited for
    double offline;           // seconds that making pads took, beside the rest
    double chi_square;        // of 255 degrees of freedom: the blinded words' first eight bits, a sample
    char engines[300], addresses[1024]; // of all accelerators, with commas between; without keys
};
struct cr_slicing_tally cr_slicing_tally(struct cr_slicing *slicing);

// For measurements, between walks, with one accelerator: with `hold` returns when enough pads lie ready for
// every product that was asked for before, and from then on none are made but those that somebody waits for;
// without, they are made ahead again.
enum cr_status cr_slicing_hold_pads(struct cr_slicing *slicing, bool hold);

#endif
