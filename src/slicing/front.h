// The clear front: the layers below the first adapted one, whole and unmasked, at an accelerator that the
// silo itself owns. It learns the silo's texts, and nothing that is tuned. What it answers is the silo's own
// input, as its data is; some of it, drawn in secret, is computed again here and compared, so that mistakes
// and lies about most of it are found.
#ifndef CARREL_SLICING_FRONT_H
#define CARREL_SLICING_FRONT_H

#include "model/pass.h"
#include "slicing/slicing.h"

// Of each row, |answer − what was computed here| over the latter's norm, at most. Honest answers are within
// 1e-5, whatever the processors (docs/NUMERICS.md).
#define CR_FRONT_TOLERANCE 1e-3

// One example in so many is computed again, and one of the first that are asked for.
enum { CR_FRONT_ONE_IN = 32 };

struct cr_front_options {
    const char *address;        // "unix:PATH", of an accelerator that the silo owns
    struct cr_slicing *slicing; // whose model it is of; borrowed
    size_t layers;              // the front's, at least 1
    size_t rows;                // of a question, at most
    size_t longest;             // of a sequence, at most
    double patience;            // seconds without a sign of life of the accelerator
};

struct cr_front;

// Another address than a unix socket's is CR_INVALID.
enum cr_status cr_front_open(const struct cr_front_options *options, struct cr_front **out);
void cr_front_close(struct cr_front *front); // NULL is allowed

// Bytes that a front of so many layers takes, in sequences of at most `longest`.
size_t cr_front_memory_of(const struct cr_model *model, size_t layers, size_t longest);

size_t cr_front_layers(const struct cr_front *front);

// Fills `stream`, [rows, d] F32, with what the layers make of the sequences; places count from 0 in each.
// An answer that is not finite, or not what was computed here, is CR_DENIED and names the accelerator.
// Fails after the slicing has refused a product.
enum cr_status cr_front_ask(struct cr_front *front, const struct cr_rows *rows, struct cr_matrix stream);

struct cr_front_tally {
    uint64_t examples, rows; // asked for
    uint64_t checked;        // examples that were computed again
    double asking, checking; // seconds
};
struct cr_front_tally cr_front_tally(const struct cr_front *front);

#endif
