#include "slicing/pad.h"

#include "field/prime.h"

#include <stdlib.h>

struct cr_pad {
    unsigned bits;
    uint32_t p; // at most 2^bits
    struct cr_keystream *main, *side;
};

enum cr_status cr_pad_new(const unsigned char key[CR_KEY_SIZE], const struct cr_field *field,
                          struct cr_pad **out)
{
    struct cr_pad *pad;
    unsigned char side[CR_KEY_SIZE] = {0};
    CR_TRY(cr_allocate(1, sizeof *pad, &pad));
    unsigned digits = cr_field_digits(field);
    *pad = (struct cr_pad){.bits = digits == 4 ? 31 : 23, .p = cr_prime(digits)};
    enum cr_status status = cr_keystream_new(key, &pad->main);
    if (status == CR_OK) status = cr_key_derive(key, "carrel pad words drawn anew", side);
    if (status == CR_OK) status = cr_keystream_new(side, &pad->side);
    cr_wipe(side, sizeof side);
    if (status == CR_OK)
        *out = pad;
    else
        cr_pad_free(pad);
    return status;
}

void cr_pad_free(struct cr_pad *pad)
{
    if (!pad) return;
    cr_keystream_free(pad->main);
    cr_keystream_free(pad->side);
    free(pad);
}

// The keystream block at which word `first` begins; `first` is a multiple of CR_PAD_PIECE.
static uint64_t block_of(const struct cr_pad *pad, size_t first)
{
    enum { BLOCK = 16 };
    return first * cr_keystream_word_size(pad->bits) / BLOCK;
}

// Replaces the words that are not below p. Which words are replaced reveals nothing about their replacements.
// The side stream has as many words as the pad, and a piece uses only those at its own place. With three
// digits 15 in 2²³ words are replaced, so running out of side words does not happen in practice.
static void draw_anew(struct cr_pad *pad, uint64_t number, size_t first, uint32_t *words, size_t count)
{
    uint32_t drawn[CR_PAD_PIECE];
    size_t used = 0;
    cr_keystream_words(pad->side, number, block_of(pad, first), pad->bits, pad->p, drawn, CR_PAD_PIECE);
    for (size_t i = 0; i < count; i++)
        while (words[i] >= pad->p) {
            if (used == CR_PAD_PIECE) abort();
            words[i] = drawn[used++];
        }
    cr_wipe(drawn, sizeof drawn);
}

void cr_pad_words(struct cr_pad *pad, uint64_t number, size_t first, uint32_t *words, size_t count)
{
    for (size_t i = 0; i < count; i += CR_PAD_PIECE) {
        size_t n = cr_least(CR_PAD_PIECE, count - i);
        if (!cr_keystream_words(pad->main, number, block_of(pad, first + i), pad->bits, pad->p, words + i, n))
            draw_anew(pad, number, first + i, words + i, n);
    }
}

enum cr_status cr_pad_pair_new(const unsigned char key[CR_KEY_SIZE], const struct cr_field *field,
                               struct cr_pad_pair *out)
{
    unsigned char keys[2][CR_KEY_SIZE] = {0};
    struct cr_pad_pair pair = {0};
    enum cr_status status = cr_key_derive(key, "carrel pads of questions", keys[0]);
    if (status == CR_OK) status = cr_key_derive(key, "carrel pads of products", keys[1]);
    if (status == CR_OK) status = cr_pad_new(keys[0], field, &pair.question);
    if (status == CR_OK) status = cr_pad_new(keys[1], field, &pair.product);
    cr_wipe(keys, sizeof keys);
    if (status == CR_OK)
        *out = pair;
    else
        cr_pad_pair_release(&pair);
    return status;
}

void cr_pad_pair_release(struct cr_pad_pair *pair)
{
    cr_pad_free(pair->question);
    cr_pad_free(pair->product);
    *pair = (struct cr_pad_pair){0};
}
