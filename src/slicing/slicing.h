// Model slicing: an untrusted accelerator computes the products with the frozen matrices of a model, on
// numbers masked by one-time pads, and each product is verified before it is used. docs/NUMERICS.md has the
// arithmetic, docs/THREAT-MODEL.md the guarantees.
#ifndef CARREL_SLICING_SLICING_H
#define CARREL_SLICING_SLICING_H

#include "base/lanes.h"
#include "model/model.h"

struct cr_slicing_options {
    // Addresses as in crypto/stream.h. If there is one, this process computes the products of pads itself. If
    // there are more, the first one computes them, and so knows the pads; the others are sent masked
    // questions (slicing/peer.h).
    char *const *accelerators;
    size_t accelerator_count;
    unsigned digits;        // of a word: 4, or 3 for less work and an error of about 1%
    size_t rows;            // most rows of a forward or backward pass
    struct cr_lanes *lanes; // lanes that run passes, each with connections of its own, and yield while the
                            // accelerator works; borrowed, NULL: one lane
    size_t threads;         // number of threads that make pads
    double patience;        // seconds without a sign of life from the accelerator
};

struct cr_slicing;

// Connects, reads every frozen matrix of `model` (opened with CR_MODEL_OUTSIDE) once, and installs itself as
// the provider of the model's linears: from now on the accelerator computes all their products. `model` is
// borrowed and may be used only while *out exists. A fresh root key is drawn and never stored. Even for a
// part of a model the whole checkpoint is needed: the checksum that both sides compare covers it.
//
// A product fails with CR_DENIED if an answer fails its check. The message names accelerator, linear and row,
// the result contains nothing of the answer, and no further product succeeds. If there are several
// accelerators, it names those whose answer to their own question is wrong.
enum cr_status cr_slicing_open(const struct cr_slicing_options *options, struct cr_model *model,
                               struct cr_slicing **out);
void cr_slicing_close(struct cr_slicing *slicing); // wipes; NULL is allowed

// Bytes that slicing adds to passes of `rows` rows through a model of this shape, with pads from layer
// `first` on. `inside` is the trusted process's own memory: facts about the matrices and pads being made (but
// not the matrix that opening reads at a time). `outside` is one matrix and the products of pads.
struct cr_slicing_memory {
    size_t inside, outside;
};
struct cr_slicing_memory cr_slicing_memory_of(struct cr_model *model, size_t rows, size_t lanes,
                                              size_t accelerators, size_t first);

// Totals since the start.
struct cr_slicing_tally {
    uint64_t products; // computed by accelerators, without those of pads
    uint64_t rows;     // verified
    uint64_t pads;     // used
    bool ahead;        // whether this process makes pads in advance
    uint64_t ready;    // pads made and not used yet
    uint64_t blinded;  // bytes of blinded words sent
    size_t outside;    // most bytes of memory outside: pads' products, and a matrix to compute them with
    double blinding, opening; // seconds of rounding and masking; of verifying and converting to numbers
    double processors;        // CPU seconds of the whole process during these two, with making pads
    double accelerator;       // seconds spent waiting for answers
    double waiting;           // seconds spent waiting for pads
    double offline;           // seconds spent making pads, in the background
    double chi_square;        // with 255 degrees of freedom: the first eight bits of a sample of masked words
    char engines[300], addresses[1024]; // of all accelerators, separated by commas; without keys
};
struct cr_slicing_tally cr_slicing_tally(struct cr_slicing *slicing);

// For measurements, between passes, with one accelerator. With `hold`: returns when there are enough pads for
// every product that was asked for before; from then on pads are made only when somebody waits for them.
// Without: pads are made ahead again.
enum cr_status cr_slicing_hold_pads(struct cr_slicing *slicing, bool hold);

#endif
