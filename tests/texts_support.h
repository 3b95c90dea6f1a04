// Several texts in one decoder: what follows each is bit for bit what follows it in a decoder of its own.
#ifndef CARREL_TESTS_TEXTS_SUPPORT_H
#define CARREL_TESTS_TEXTS_SUPPORT_H

#include "support.h"

#include "model/generate.h"

#include <stdlib.h>
#include <string.h>

struct text_case {
    size_t prompt, count; // tokens; beyond the prompt they come one by one
};

// Prompts of all sorts, texts that end at different steps.
static const struct text_case short_texts[] = {{5, 9},   {17, 17}, {1, 14}, {9, 12},
                                               {30, 31}, {2, 20},  {12, 16}};

struct texts {
    struct cr_decoder *decoder;
    const struct text_case *cases;
    size_t context, vocabulary;
    uint32_t *tokens; // [cases, context]
    float *alone;     // [cases, context, V]: what follows each token that is fed last
};

static inline void texts_alone(const struct cr_model *walked, const struct cr_tuned *tuned,
                               const struct texts *t, size_t text)
{
    struct cr_decoder *decoder;
    const struct text_case *of = &t->cases[text];
    assert_ok(cr_decoder_new(walked, tuned, t->context, 1, &decoder));
    for (size_t fed = 0, part = of->prompt; fed < of->count; fed += part, part = 1) {
        const float *logits;
        const struct cr_feed feed = {0, t->tokens + text * t->context + fed, part};
        assert_ok(cr_decoder_feed(decoder, &feed, 1, &logits));
        memcpy(t->alone + (text * t->context + fed + part - 1) * t->vocabulary, logits,
               t->vocabulary * sizeof *logits);
    }
    cr_decoder_free(decoder);
}

// Feeds the texts that have a place, from the last place to the first; a failure in between changes nothing.
static inline bool texts_step(const struct texts *t, size_t places, const size_t *text, size_t *fed)
{
    struct cr_feed feeds[8];
    size_t count = 0;
    const float *logits;
    for (size_t place = places; place-- > 0;)
        if (text[place] != SIZE_MAX)
            feeds[count++] = (struct cr_feed){place, t->tokens + text[place] * t->context + fed[place],
                                              fed[place] == 0 ? t->cases[text[place]].prompt : 1};
    if (count == 0) return false;
    const uint32_t bad = (uint32_t)t->vocabulary;
    feeds[count] = (struct cr_feed){places, &bad, 1};
    assert_fails(CR_INVALID, "outside the model's vocabulary",
                 cr_decoder_feed(t->decoder, feeds, count + 1, &logits));
    assert_ok(cr_decoder_feed(t->decoder, feeds, count, &logits));
    for (size_t i = 0; i < count; i++) {
        size_t place = feeds[i].text;
        fed[place] += feeds[i].count;
        assert_memory_equal(logits + i * t->vocabulary,
                            t->alone + (text[place] * t->context + fed[place] - 1) * t->vocabulary,
                            t->vocabulary * sizeof *logits);
    }
    return true;
}

// `places` texts at a time, at most 7: one that has ended makes room for the next.
static inline void check_texts(const struct cr_model *walked, const struct cr_tuned *tuned,
                               const struct text_case *cases, size_t count, size_t places)
{
    struct texts t = {.cases = cases, .vocabulary = walked->config.vocabulary};
    for (size_t i = 0; i < count; i++)
        if (cases[i].count > t.context) t.context = cases[i].count;
    assert_ok(cr_allocate(count * t.context, sizeof *t.tokens, &t.tokens));
    assert_ok(cr_allocate(count * t.context, t.vocabulary * sizeof *t.alone, &t.alone));
    for (size_t i = 0; i < count * t.context; i++) t.tokens[i] = (uint32_t)(i * i % 101 % t.vocabulary);
    for (size_t i = 0; i < count; i++) texts_alone(walked, tuned, &t, i);
    assert_ok(cr_decoder_new(walked, tuned, t.context, places, &t.decoder));
    size_t text[8], fed[8], next = 0;
    for (size_t place = 0; place < places; place++) text[place] = SIZE_MAX;
    do {
        for (size_t place = 0; place < places; place++) {
            if (text[place] != SIZE_MAX && fed[place] < cases[text[place]].count) continue;
            text[place] = next < count ? next++ : SIZE_MAX;
            fed[place] = 0;
            cr_decoder_clear(t.decoder, place);
        }
    } while (texts_step(&t, places, text, fed));
    assert_int_equal(next, count);
    cr_decoder_free(t.decoder);
    free(t.tokens);
    free(t.alone);
}

static inline void check_short_texts(const struct cr_model *walked, const struct cr_tuned *tuned)
{
    check_texts(walked, tuned, short_texts, sizeof short_texts / sizeof *short_texts, 3);
}

#endif
