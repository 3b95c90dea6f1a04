// Words of one-time pads: uniform over [0, p), made again from a number whenever they are needed.
#ifndef CARREL_SLICING_PAD_H
#define CARREL_SLICING_PAD_H

#include "crypto/keystream.h"
#include "field/product.h"

// Pads under one key. One object serves one thread; several over one key agree.
struct cr_pad;

enum cr_status cr_pad_new(const unsigned char key[CR_KEY_SIZE], const struct cr_field *field,
                          struct cr_pad **out);
void cr_pad_free(struct cr_pad *pad); // wipes the key; NULL is allowed

enum { CR_PAD_PIECE = 256 }; // words

// `count` words of pad `number` from word `first` on, a multiple of CR_PAD_PIECE: bits of the key's stream of
// that number, 31 of four bytes (23 of three with three digits) for each word. The rare one that is not below
// p is drawn anew from a side stream, so words are exactly uniform.
void cr_pad_words(struct cr_pad *pad, uint64_t number, size_t first, uint32_t *words, size_t count);

// Under one key, the pads of questions and those of their products (slicing/pads.h).
struct cr_pad_pair {
    struct cr_pad *question, *product;
};
enum cr_status cr_pad_pair_new(const unsigned char key[CR_KEY_SIZE], const struct cr_field *field,
                               struct cr_pad_pair *out);
void cr_pad_pair_release(struct cr_pad_pair *pair); // wipes; zeros are allowed

#endif
