// Pads and their products, made ahead of time by the trusted process itself: as many products as are asked of
// the accelerator, off the critical path.
//
// Each linear and direction has a queue of pads, numbered from 0 and used once each, in order: the number
// never goes back, so no pad is used twice. Of pad n, r is made again from its number when it is used. Its
// product Q r lies outside the trusted process as c = Q r + k mod p, with k a second pad: whoever changes c
// changes the product by what he changed it by, whatever it is, and Freivalds' check finds that
// (slicing/facts.h). The matrix that they are made with lies outside as well: it is no secret, and a product
// is checked before it is put away. A producing thread keeps every queue that was ever used full: `rows`
// pads.
#ifndef CARREL_SLICING_PADS_H
#define CARREL_SLICING_PADS_H

#include "field/wire.h"
#include "slicing/facts.h"

struct cr_pads;

struct cr_pads_options {
    struct cr_model *model;       // of CR_MODEL_OUTSIDE
    const struct cr_facts *facts; // borrowed, as is the model
    unsigned digits;
    size_t rows;    // of a queue; of all that is ever taken and not given back
    size_t threads; // that make them
    bool shared;    // an accelerator is shown their products
    unsigned char key[CR_KEY_SIZE];
};

enum cr_status cr_pads_new(const struct cr_pads_options *options, struct cr_pads **out);
void cr_pads_free(struct cr_pads *pads); // wipes; NULL is allowed

// Sets *first to the number of the first of `rows` pads (at most the queue's) that nobody had before, and
// waits until their products are there. A checkpoint that no longer is what it was is CR_DENIED.
enum cr_status cr_pads_take(struct cr_pads *pads, size_t linear, bool backward, size_t rows, uint64_t *first);

// The products c of that pad, [width]: memory that others may write to.
const volatile uint32_t *cr_pads_products(const struct cr_pads *pads, size_t linear, bool backward,
                                          uint64_t number);

// What an accelerator is shown of them, if it is: *size bytes, by the descriptor that it returns, which is
// borrowed; and where in it, by this product, those of its rows' pads lie, which are numbered from `number`
// on.
int cr_pads_shared(const struct cr_pads *pads, size_t *size);
void cr_pads_point(const struct cr_pads *pads, uint64_t number, struct cr_wire_product *product);

// Gives back the place of the `rows` oldest pads that were taken and not given back.
void cr_pads_give_back(struct cr_pads *pads, size_t linear, bool backward, size_t rows);

// Which pad of slicing/pad.h (its number there) the queue's pad `number` is.
uint64_t cr_pads_stream(size_t linear, bool backward, uint64_t number);

// Words that their maker works in at a time, for a queue of `rows` pads which have, with their products, so
// many words each.
size_t cr_pads_words_at_once(size_t ends, size_t rows);

// With `hold` waits until every queue that was ever used is full, and nothing is made ahead from then on;
// without, it is again.
enum cr_status cr_pads_hold(struct cr_pads *pads, bool hold);

struct cr_pads_tally {
    uint64_t made;  // pads
    uint64_t ready; // of these, not taken yet
    double seconds; // that making them took
    size_t outside; // bytes that lie outside, at most: products and a matrix
};
struct cr_pads_tally cr_pads_tally(struct cr_pads *pads);

#endif
