// Pads and their products, computed in advance by the trusted process itself. That is as much work as the
// accelerator does, but off the critical path.
//
// Each linear and direction has a queue of pads, numbered from 0 and used once each, in order. The number
// never goes back, so no pad is used twice. The pad r with number n is generated again when it is used. Its
// product Q r is stored outside the trusted process as c = Q r + k mod p, where k is a second pad. An
// attacker who adds a difference to c adds the same difference to the product, without learning it, and
// Freivalds' check finds that (slicing/facts.h). The matrix from which products are computed is also outside:
// it is no secret, and each product is checked before it is stored. A producing thread keeps every queue that
// was used at least once filled with `rows` pads.
#ifndef CARREL_SLICING_PADS_H
#define CARREL_SLICING_PADS_H

#include "field/wire.h"
#include "slicing/facts.h"

struct cr_pads;

struct cr_pads_options {
    struct cr_model *model;       // opened with CR_MODEL_OUTSIDE
    const struct cr_facts *facts; // borrowed, like the model
    unsigned digits;
    size_t rows;    // pads in a queue, and the most that are taken and not given back at a time
    size_t threads; // number of threads that compute products
    bool shared;    // the accelerator may read the masked products
    unsigned char key[CR_KEY_SIZE];
};

enum cr_status cr_pads_new(const struct cr_pads_options *options, struct cr_pads **out);
void cr_pads_free(struct cr_pads *pads); // wipes; NULL is allowed

// Takes `rows` unused pads (at most options.rows), sets *first to the number of the first one, and waits
// until their products are there. Fails with CR_DENIED if the checkpoint has changed since the start.
enum cr_status cr_pads_take(struct cr_pads *pads, size_t linear, bool backward, size_t rows, uint64_t *first);

// The masked product c of that pad, [width], in memory that others may write to.
const volatile uint32_t *cr_pads_products(const struct cr_pads *pads, size_t linear, bool backward,
                                          uint64_t number);

// cr_pads_shared returns the descriptor of the memory that the accelerator may read (borrowed; -1 if it is
// not shared), and sets *size to its size in bytes. cr_pads_point fills in where in that memory the products
// of this question's pads are; `number` is the first row's pad.
int cr_pads_shared(const struct cr_pads *pads, size_t *size);
void cr_pads_point(const struct cr_pads *pads, uint64_t number, struct cr_wire_product *product);

// Gives back the memory of the `rows` oldest pads that are taken and not yet given back.
void cr_pads_give_back(struct cr_pads *pads, size_t linear, bool backward, size_t rows);

// The number in slicing/pad.h of pad `number` of this queue.
uint64_t cr_pads_stream(size_t linear, bool backward, uint64_t number);

// Words of memory that the producing thread takes for a queue of `rows` pads, where a pad and its product
// have `ends` words together.
size_t cr_pads_words_at_once(size_t ends, size_t rows);

// With `hold`: waits until every queue that was used at least once is full, and then stops making pads ahead.
// Without: makes pads ahead again.
enum cr_status cr_pads_hold(struct cr_pads *pads, bool hold);

struct cr_pads_tally {
    uint64_t made;  // pads
    uint64_t ready; // made and not taken yet
    double seconds; // spent making them
    size_t outside; // most bytes of memory outside
};
struct cr_pads_tally cr_pads_tally(struct cr_pads *pads);

#endif
