// The clear front: an accelerator that the silo itself owns computes the layers below the first adapted one,
// whole and unmasked. It sees the silo's texts but nothing that is tuned. Its answers are as trusted as the
// silo's own data. A secret random sample of them is recomputed here and compared, which finds faults, and
// lies that concern most of the data.
#ifndef CARREL_SLICING_FRONT_H
#define CARREL_SLICING_FRONT_H

#include "model/pass.h"
#include "slicing/slicing.h"

// The largest accepted relative error of a row: ‖answer − recomputed‖₂ / ‖recomputed‖₂. Correct answers are
// within 1e-5 on any processor (docs/NUMERICS.md).
#define CR_FRONT_TOLERANCE 1e-3

// On average one example in CR_FRONT_ONE_IN is recomputed, and always one of the first request.
enum { CR_FRONT_ONE_IN = 32 };

struct cr_front_options {
    const char *address;        // "unix:PATH", of the accelerator that the silo owns
    struct cr_slicing *slicing; // the slicing of the same model; borrowed
    size_t layers;              // number of layers of the front, at least 1
    size_t rows;                // most rows (tokens) of one request
    size_t longest;             // most tokens of one sequence
    double patience;            // seconds without a sign of life from the accelerator
};

struct cr_front;

// Fails with CR_INVALID if the address is not a unix socket.
enum cr_status cr_front_open(const struct cr_front_options *options, struct cr_front **out);
void cr_front_close(struct cr_front *front); // NULL is allowed

// Bytes of memory that a front of `layers` layers takes for sequences of at most `longest` tokens.
size_t cr_front_memory_of(const struct cr_model *model, size_t layers, size_t longest);

size_t cr_front_layers(const struct cr_front *front);

// Fills `stream`, [rows, d] F32, with the output of the front's layers for these sequences; positions count
// from 0 in each sequence. Fails with CR_DENIED, naming the accelerator, if the answer is not finite or
// differs from what was recomputed, and if the slicing has refused a product before.
enum cr_status cr_front_ask(struct cr_front *front, const struct cr_rows *rows, struct cr_matrix stream);

struct cr_front_tally {
    uint64_t examples, rows; // requested
    uint64_t checked;        // examples that were recomputed
    double asking, checking; // seconds
};
struct cr_front_tally cr_front_tally(const struct cr_front *front);

#endif
