#include "text/score.h"

#include "base/memory.h"
#include "text/unicode.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct words {
    struct cr_buffer text;
    struct cr_slice *items; // [count] slices of text
    size_t count;
};

static void release_words(struct words *words)
{
    free(words->items);
    cr_buffer_release(&words->text);
}

static bool is_digit(unsigned char c)
{
    return c >= '0' && c <= '9';
}

static bool is_point(unsigned char c)
{
    return c == '.' || c == ',';
}

// ASCII punctuation that is always a word of its own: all but ' , - and the full stop.
static bool is_alone(unsigned char c)
{
    return (c >= ' ' && c <= '&') || (c >= '(' && c <= '+') || c == '/' || (c >= ':' && c <= '@') ||
           (c >= '[' && c <= '`') || (c >= '{' && c <= '~');
}

// The ranges that sacreBLEU's zh takes for Chinese. The range from U+2001 and that at U+2F81 are mistakes
// there (five hexadecimal digits, of which Python reads four); they are kept so that scores are the same.
static bool is_chinese(uint32_t c)
{
    static const uint32_t ranges[][2] = {
        {0x2001, 0x2a6d}, {0x2e80, 0x2fdf}, {0x2ff0, 0x303f}, {0x3100, 0x312f}, {0x31a0, 0x31bf},
        {0x31c0, 0x31ef}, {0x3200, 0x33ff}, {0x3400, 0x4db5}, {0x4e00, 0x9fbb}, {0xf900, 0xfa2d},
        {0xfa30, 0xfa6a}, {0xfa70, 0xfad9}, {0xfe10, 0xfe1f}, {0xfe30, 0xfe4f}, {0xff00, 0xffef},
    };
    for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++)
        if (c >= ranges[i][0] && c <= ranges[i][1]) return true;
    return false;
}

static enum cr_status replace_all(struct cr_buffer *text, const char *pattern, const char *content)
{
    CR_CLEANUP(cr_buffer_release) struct cr_buffer out = {0};
    CR_TRY(cr_text_replace(cr_buffer_slice(text), cr_slice_of_string(pattern), cr_slice_of_string(content),
                           SIZE_MAX, &out));
    struct cr_buffer old = *text;
    *text = out;
    out = old;
    return CR_OK;
}

// The replacements that mteval-v13a makes first.
static enum cr_status unescape(struct cr_buffer *text)
{
    static const char *const pairs[][2] = {{"<skipped>", ""}, {"-\n", ""},   {"\n", " "},  {"&quot;", "\""},
                                           {"&amp;", "&"},    {"&lt;", "<"}, {"&gt;", ">"}};
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++)
        CR_TRY(replace_all(text, pairs[i][0], pairs[i][1]));
    return CR_OK;
}

static enum cr_status append_apart(struct cr_buffer *out, const void *bytes, size_t size)
{
    CR_TRY(cr_append(out, " ", 1));
    CR_TRY(cr_append(out, bytes, size));
    return cr_append(out, " ", 1);
}

static enum cr_status set_chinese_apart(struct cr_slice text, struct cr_buffer *out)
{
    const unsigned char *at = text.data, *end = text.data + text.size;
    while (at < end) {
        const unsigned char *here = at;
        bool chinese = is_chinese(cr_utf8_next(&at));
        CR_TRY((chinese ? append_apart : cr_append)(out, here, (size_t)(at - here)));
    }
    return CR_OK;
}

static enum cr_status set_punctuation_apart(struct cr_slice text, struct cr_buffer *out)
{
    for (size_t i = 0; i < text.size; i++)
        CR_TRY((is_alone(text.data[i]) ? append_apart : cr_append)(out, text.data + i, 1));
    return CR_OK;
}

// Looks at pairs of bytes, from left to right without overlap. If `first` accepts one and `second` the next,
// a space goes before and after the first byte if `before_first`, else the second.
struct pairing {
    bool (*first)(unsigned char), (*second)(unsigned char);
    bool before_first;
};

static enum cr_status set_pairs_apart(struct pairing pairing, struct cr_slice text, struct cr_buffer *out)
{
    for (size_t i = 0; i < text.size; i++) {
        const unsigned char *at = text.data + i;
        if (i + 1 == text.size || !pairing.first(at[0]) || !pairing.second(at[1])) {
            CR_TRY(cr_append(out, at, 1));
            continue;
        }
        if (pairing.before_first) {
            CR_TRY(append_apart(out, at, 1));
            CR_TRY(cr_append(out, at + 1, 1));
        } else {
            CR_TRY(cr_append(out, at, 1));
            CR_TRY(append_apart(out, at + 1, 1));
        }
        i++;
    }
    return CR_OK;
}

static bool is_no_digit(unsigned char c)
{
    return !is_digit(c);
}

static bool is_hyphen(unsigned char c)
{
    return c == '-';
}

static enum cr_status divide(struct words *words)
{
    struct cr_slice text = cr_buffer_slice(&words->text);
    CR_TRY(cr_allocate(text.size / 2 + 1, sizeof *words->items, &words->items));
    const unsigned char *at = text.data, *end = text.data + text.size, *begin = at;
    while (at < end) {
        const unsigned char *here = at;
        bool gap = cr_unicode_gap(cr_utf8_next(&at));
        if (!gap && at < end) continue;
        const unsigned char *behind = gap ? here : at;
        if (behind > begin) words->items[words->count++] = (struct cr_slice){begin, (size_t)(behind - begin)};
        begin = at;
    }
    return CR_OK;
}

static enum cr_status bleu_words(struct cr_slice text, enum cr_score_words kind, struct words *out)
{
    static const struct pairing pairings[] = {
        {is_no_digit, is_point, false}, {is_point, is_no_digit, true}, {is_digit, is_hyphen, false}};
    CR_CLEANUP(cr_buffer_release) struct cr_buffer line = {0};
    CR_CLEANUP(cr_buffer_release) struct cr_buffer next = {0};
    if (kind == CR_SCORE_ZH) {
        CR_TRY(set_chinese_apart(text, &next));
    } else {
        CR_TRY(cr_append(&line, text.data, text.size));
        CR_TRY(unescape(&line));
        CR_TRY(append_apart(&next, line.data, line.size));
    }
    cr_buffer_clear(&line);
    CR_TRY(set_punctuation_apart(cr_buffer_slice(&next), &line));
    for (size_t i = 0; i < sizeof pairings / sizeof *pairings; i++) {
        cr_buffer_clear(&next);
        CR_TRY(set_pairs_apart(pairings[i], cr_buffer_slice(&line), &next));
        struct cr_buffer old = line;
        line = next;
        next = old;
    }
    out->text = line;
    line = (struct cr_buffer){0};
    return divide(out);
}

static enum cr_status rouge_words(struct cr_slice text, struct words *out)
{
    CR_TRY(cr_unicode_lowercase(text, &out->text));
    for (size_t i = 0; i < out->text.size; i++) {
        unsigned char *c = &out->text.data[i];
        if (!is_digit(*c) && (*c < 'a' || *c > 'z')) *c = ' ';
    }
    return divide(out);
}

struct numbered {
    struct cr_slice word;
    uint32_t *number;
};

static int compare_words(const void *a, const void *b)
{
    struct cr_slice x = ((const struct numbered *)a)->word, y = ((const struct numbered *)b)->word;
    int order = memcmp(x.data, y.data, cr_least(x.size, y.size));
    return order != 0 ? order : (x.size > y.size) - (x.size < y.size);
}

// Numbers the words of two texts; equal words get equal numbers.
static enum cr_status number_words(const struct words texts[2], uint32_t *const numbers[2])
{
    size_t count = 0;
    CR_FREE struct numbered *sorted = NULL;
    CR_TRY(cr_allocate(texts[0].count + texts[1].count, sizeof *sorted, &sorted));
    for (size_t t = 0; t < 2; t++)
        for (size_t i = 0; i < texts[t].count; i++)
            sorted[count++] = (struct numbered){texts[t].items[i], &numbers[t][i]};
    qsort(sorted, count, sizeof *sorted, compare_words);
    uint32_t number = 0;
    for (size_t i = 0; i < count; i++) {
        if (i > 0 && compare_words(&sorted[i - 1], &sorted[i]) != 0) number++;
        *sorted[i].number = number;
    }
    return CR_OK;
}

struct gram {
    uint32_t words[CR_SCORE_ORDERS]; // zeros after the n-gram's words
};

static int compare_grams(const void *a, const void *b)
{
    return memcmp(a, b, sizeof(struct gram));
}

static size_t fill_grams(const uint32_t *numbers, size_t count, size_t order, struct gram *out)
{
    size_t grams = count < order ? 0 : count - order + 1;
    for (size_t i = 0; i < grams; i++) {
        out[i] = (struct gram){0};
        memcpy(out[i].words, numbers + i, order * sizeof *numbers);
    }
    qsort(out, grams, sizeof *out, compare_grams);
    return grams;
}

static enum cr_status count_grams(struct cr_score *score, uint32_t *const numbers[2], const size_t counts[2])
{
    CR_FREE struct gram *answer = NULL, *reference = NULL;
    CR_TRY(cr_allocate(counts[0], sizeof *answer, &answer));
    CR_TRY(cr_allocate(counts[1], sizeof *reference, &reference));
    for (size_t n = 1; n <= CR_SCORE_ORDERS; n++) {
        size_t a = fill_grams(numbers[0], counts[0], n, answer),
               b = fill_grams(numbers[1], counts[1], n, reference);
        score->totals[n - 1] += a;
        // Of equal n-grams, as many match as the text with fewer of them has.
        for (size_t i = 0, j = 0; i < a && j < b;) {
            int order = compare_grams(&answer[i], &reference[j]);
            score->matches[n - 1] += order == 0;
            i += order <= 0;
            j += order >= 0;
        }
    }
    score->answer_words += counts[0];
    score->reference_words += counts[1];
    return CR_OK;
}

// Adds the F1 score of the longest common subsequence.
static enum cr_status add_rouge(struct cr_score *score, uint32_t *const numbers[2], const size_t counts[2])
{
    CR_FREE size_t *row = NULL;
    CR_TRY(cr_allocate(counts[1] + 1, sizeof *row, &row));
    for (size_t i = 0; i < counts[0]; i++) {
        size_t corner = 0;
        for (size_t j = 0; j < counts[1]; j++) {
            size_t above = row[j + 1];
            row[j + 1] = numbers[0][i] == numbers[1][j] ? corner + 1 : cr_most(above, row[j]);
            corner = above;
        }
    }
    double common = (double)row[counts[1]];
    if (common > 0) score->rouge_sum += 2 * common / (double)(counts[0] + counts[1]);
    return CR_OK;
}

typedef enum cr_status (*count_fn)(struct cr_score *, uint32_t *const[2], const size_t[2]);

static enum cr_status count_with(struct cr_score *score, const struct words texts[2], count_fn count)
{
    CR_FREE uint32_t *answer = NULL, *reference = NULL;
    CR_TRY(cr_allocate(texts[0].count, sizeof *answer, &answer));
    CR_TRY(cr_allocate(texts[1].count, sizeof *reference, &reference));
    uint32_t *const numbers[2] = {answer, reference};
    CR_TRY(number_words(texts, numbers));
    return count(score, numbers, (const size_t[2]){texts[0].count, texts[1].count});
}

static enum cr_status add_words(struct cr_score *score, const struct cr_slice texts[2])
{
    CR_CLEANUP(release_words) struct words answer = {0}, reference = {0};
    CR_TRY(bleu_words(texts[0], score->words, &answer));
    CR_TRY(bleu_words(texts[1], score->words, &reference));
    const struct words both[2] = {answer, reference};
    CR_TRY(count_with(score, both, count_grams));
    return score->words == CR_SCORE_ZH ? count_with(score, both, add_rouge) : CR_OK;
}

static enum cr_status add_rouge_words(struct cr_score *score, const struct cr_slice texts[2])
{
    CR_CLEANUP(release_words) struct words answer = {0}, reference = {0};
    CR_TRY(rouge_words(texts[0], &answer));
    CR_TRY(rouge_words(texts[1], &reference));
    return count_with(score, (const struct words[2]){answer, reference}, add_rouge);
}

enum cr_status cr_score_add(struct cr_score *score, struct cr_slice answer, struct cr_slice reference)
{
    struct cr_score sum = *score;
    const struct cr_slice texts[2] = {cr_text_strip(answer), cr_text_strip(reference)};
    CR_TRY(add_words(&sum, texts));
    if (score->words == CR_SCORE_13A) CR_TRY(add_rouge_words(&sum, texts));
    sum.answers++;
    sum.exact += cr_slice_equal(texts[0], texts[1]);
    *score = sum;
    return CR_OK;
}

double cr_score_bleu(const struct cr_score *score)
{
    double logarithms = 0, smooth = 1;
    for (size_t n = 0; n < CR_SCORE_ORDERS; n++) {
        if (score->totals[n] == 0) return 0;
        double matches = (double)score->matches[n];
        // The first order without a match counts as half a match, the next one as a quarter, ...
        if (score->matches[n] == 0) matches = 1 / (smooth *= 2);
        logarithms += log(matches / (double)score->totals[n]);
    }
    if (score->matches[0] == 0) return 0;
    double length = (double)score->answer_words, wanted = (double)score->reference_words;
    double brevity = length < wanted ? exp(1 - wanted / length) : 1;
    return 100 * brevity * exp(logarithms / CR_SCORE_ORDERS);
}

double cr_score_rouge_l(const struct cr_score *score)
{
    return score->rouge_sum / (double)score->answers;
}
