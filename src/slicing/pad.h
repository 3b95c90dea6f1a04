// Words of one-time pads: uniform over [0, p). A pad is not stored but generated again from its number
// whenever it is needed.
#ifndef CARREL_SLICING_PAD_H
#define CARREL_SLICING_PAD_H

#include "crypto/keystream.h"
#include "field/product.h"

// Generator of the pads under one key. Use one object per thread; objects with the same key generate the same
// pads.
struct cr_pad;

enum cr_status cr_pad_new(const unsigned char key[CR_KEY_SIZE], const struct cr_field *field,
                          struct cr_pad **out);
void cr_pad_free(struct cr_pad *pad); // wipes the key; NULL is allowed

enum { CR_PAD_PIECE = 256 }; // words

// Generates `count` words of pad `number`, beginning with word `first`, a multiple of CR_PAD_PIECE. Each word
// is 31 bits of four bytes (with three digits: 23 bits of three bytes) of the keystream with that number. The
// rare word that is not below p is replaced from a side stream, so words are exactly uniform.
void cr_pad_words(struct cr_pad *pad, uint64_t number, size_t first, uint32_t *words, size_t count);

// Generators under one key of the pads that mask questions and of those that mask the pads' products
// (slicing/pads.h).
struct cr_pad_pair {
    struct cr_pad *question, *product;
};
enum cr_status cr_pad_pair_new(const unsigned char key[CR_KEY_SIZE], const struct cr_field *field,
                               struct cr_pad_pair *out);
void cr_pad_pair_release(struct cr_pad_pair *pair); // wipes; a zeroed struct is allowed

#endif
