#include "slicing/pad.h"

#include "field/prime.h"

#include <stdlib.h>

struct cr_pad {
    const struct cr_field *field; // borrowed
    struct cr_keystream *main, *side;
};

enum cr_status cr_pad_new(const unsigned char key[CR_KEY_SIZE], const struct cr_field *field,
                          struct cr_pad **out)
{
    struct cr_pad *pad;
    unsigned char side[CR_KEY_SIZE] = {0};
    CR_TRY(cr_allocate(1, sizeof *pad, &pad));
    *pad = (struct cr_pad){.field = field};
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

// Which words these are tells nothing of those that take their place. Of three digits 15 in 2²³ words are
// drawn anew: that DRAWN are not enough for a pad of 2²⁰ words does not happen (below 2⁻³⁰⁰).
static void draw_anew(struct cr_pad *pad, uint64_t number, uint32_t *words, size_t count, size_t left)
{
    enum { DRAWN = 256 };
    uint32_t drawn[DRAWN], p = cr_prime(cr_field_digits(pad->field));
    size_t used = 0;
    cr_keystream_bytes(pad->side, number, drawn, sizeof drawn);
    cr_mask_words(pad->field, drawn, DRAWN);
    for (size_t i = 0; i < count && left > 0; i++) {
        if (words[i] < p) continue;
        left--;
        while (words[i] >= p) {
            if (used == DRAWN) abort();
            words[i] = drawn[used++];
        }
    }
    cr_wipe(drawn, sizeof drawn);
}

void cr_pad_words(struct cr_pad *pad, uint64_t number, uint32_t *words, size_t count)
{
    cr_keystream_bytes(pad->main, number, words, count * sizeof *words);
    size_t outside = cr_mask_words(pad->field, words, count);
    if (outside > 0) draw_anew(pad, number, words, count, outside);
}
