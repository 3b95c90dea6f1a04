// What the tests of privacy ask of words that an accelerator sees: are they uniform, and does none have to do
// with another? Each answer is the probability that honest words look at least so strange.
#ifndef CARREL_TESTS_UNIFORMITY_SUPPORT_H
#define CARREL_TESTS_UNIFORMITY_SUPPORT_H

#include "support.h"

#include "base/memory.h"
#include "field/prime.h"

#include <math.h>

// Rows of words that were asked of one linear in one direction.
struct series {
    size_t depth, rows, capacity;
    uint32_t *words; // [rows, depth]
};

static inline void series_add(struct series *series, const uint32_t *words, size_t rows, size_t depth)
{
    assert_true(series->rows == 0 || series->depth == depth);
    series->depth = depth;
    if (series->rows + rows > series->capacity) {
        series->capacity = 2 * (series->rows + rows);
        assert_ok(cr_reallocate(series->capacity * depth, sizeof *series->words, &series->words));
    }
    memcpy(series->words + series->rows * depth, words, rows * depth * sizeof *words);
    series->rows += rows;
}

struct uniformity {
    double
        bytes; // chi-square of each byte position over its own range: the least of them, times their number
    double serial; // correlation of a word with the next of its row, and with the same of the next row
    double
        related; // of two rows of one series, or with the same number in two: how small their difference is
    size_t words, pairs;
};

// Of a normal number so far from 0, to either side.
static inline double tails(double z)
{
    return erfc(fabs(z) / sqrt(2));
}

static inline double byte_probability(const struct series *series, size_t count, unsigned place,
                                      unsigned values)
{
    double counts[256] = {0}, all = 0, sum = 0, free_values = values - 1;
    for (size_t s = 0; s < count; s++)
        for (size_t i = 0; i < series[s].rows * series[s].depth; i++)
            counts[series[s].words[i] >> 8 * place & 255]++;
    for (size_t i = 0; i < 256; i++) all += counts[i];
    for (size_t i = 0; i < 256; i++) {
        if (i >= values && counts[i] > 0) return 0;
        if (i < values) sum += pow(counts[i] - all / values, 2) / (all / values);
    }
    // Wilson and Hilferty: the cube root of a chi-square is nearly normal.
    double spread = 2 / (9 * free_values);
    return tails((cbrt(sum / free_values) - (1 - spread)) / sqrt(spread));
}

// Correlation of each word with the one after it, or with that in its place of the next row.
static inline double serial_probability(const struct series *series, size_t count, bool next_row, uint32_t p)
{
    double sum = 0, squares = 0, n = 0;
    for (size_t s = 0; s < count; s++) {
        size_t depth = series[s].depth, step = next_row ? depth : 1;
        for (size_t i = 0; i + step < series[s].rows * depth; i++) {
            double a = series[s].words[i] - p / 2.0, b = series[s].words[i + step] - p / 2.0;
            sum += a * b;
            squares += a * a;
            n++;
        }
    }
    return tails(sum / squares * sqrt(n));
}

// Bits above the highest one of the centred difference of two words, 30 (or 22) if it is 0: k or more with
// probability 2^-k.
static inline size_t zeros_above(uint32_t a, uint32_t b, uint32_t p, size_t bits)
{
    uint32_t up = cr_prime_sub(a, b, p), down = cr_prime_sub(b, a, p), apart = up < down ? up : down;
    return bits - (apart ? 32 - (size_t)__builtin_clz(apart) : 0);
}

static inline size_t zeros_of_rows(const uint32_t *a, const uint32_t *b, size_t depth, uint32_t p,
                                   size_t bits)
{
    size_t zeros = 0;
    for (size_t i = 0; i < depth; i++) zeros += zeros_above(a[i], b[i], p, bits);
    return zeros;
}

// Of `zeros` or more over a row: fewer than `depth` heads before so many tails.
static inline double zeros_probability(size_t zeros, size_t depth)
{
    double n = (double)(zeros + depth) - 1, sum = 0;
    for (size_t k = 0; k < depth; k++)
        sum += exp(lgamma(n + 1) - lgamma((double)k + 1) - lgamma(n - (double)k + 1) - n * log(2));
    return fmin(sum, 1);
}

static inline double related_probability(const struct series *series, size_t count, uint32_t p, size_t bits,
                                         size_t *pairs)
{
    double least = 1;
    for (size_t s = 0; s < count; s++) {
        size_t depth = series[s].depth, most = 0;
        for (size_t i = 0; i < series[s].rows; i++)
            for (size_t j = 0; j < i; j++) {
                size_t zeros =
                    zeros_of_rows(series[s].words + i * depth, series[s].words + j * depth, depth, p, bits);
                most = cr_most(most, zeros);
            }
        *pairs += series[s].rows * (series[s].rows - (series[s].rows > 0)) / 2;
        if (series[s].rows > 1) least = fmin(least, zeros_probability(most, depth));
        for (size_t t = 0; t < s; t++) {
            size_t rows = cr_least(series[s].rows, series[t].rows),
                   least_depth = cr_least(depth, series[t].depth);
            most = 0;
            for (size_t i = 0; i < rows; i++)
                most =
                    cr_most(most, zeros_of_rows(series[s].words + i * depth,
                                                series[t].words + i * series[t].depth, least_depth, p, bits));
            *pairs += rows;
            if (rows > 0) least = fmin(least, zeros_probability(most, least_depth));
        }
    }
    return fmin(least * (double)*pairs, 1);
}

static inline struct uniformity uniformity_of(const struct series *series, size_t count, unsigned digits)
{
    const uint32_t p = cr_prime(digits);
    struct uniformity out = {.bytes = 1};
    for (size_t s = 0; s < count; s++) out.words += series[s].rows * series[s].depth;
    for (unsigned place = 0; place < digits; place++)
        out.bytes =
            fmin(out.bytes, digits * byte_probability(series, count, place, place + 1 < digits ? 256 : 128));
    out.serial = fmin(
        1, 2 * fmin(serial_probability(series, count, false, p), serial_probability(series, count, true, p)));
    out.related = related_probability(series, count, p, digits == 4 ? 30 : 22, &out.pairs);
    return out;
}

#endif
