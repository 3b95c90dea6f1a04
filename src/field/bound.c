#include "field/bound.h"

#include "field/prime.h"

#include <math.h>

static uint64_t largest(const uint64_t *values, size_t count)
{
    uint64_t most = 0;
    for (size_t i = 0; i < count; i++) most = values[i] > most ? values[i] : most;
    return most;
}

// The sum of the squares of a row, each of which is added to its place of `down` as well unless that is NULL,
// and the largest magnitude.
static uint64_t row_squares(const int8_t *row, size_t count, uint64_t *down, int *most)
{
    enum { PIECE = 1 << 16 }; // whose squares, at most 2^14, fit 32 bits
    uint64_t sum = 0;
    for (size_t at = 0; at < count; at += PIECE) {
        size_t n = count - at < PIECE ? count - at : PIECE;
        int32_t squares = 0, least = 0, greatest = 0;
        for (size_t i = 0; i < n; i++) {
            int32_t value = row[at + i];
            squares += value * value;
            least = value < least ? value : least;
            greatest = value > greatest ? value : greatest;
        }
        if (down)
            for (size_t i = 0; i < n; i++) down[at + i] += (uint64_t)(row[at + i] * row[at + i]);
        sum += (uint64_t)squares;
        *most = -least > *most ? -least : *most;
        *most = greatest > *most ? greatest : *most;
    }
    return sum;
}

enum cr_status cr_bound_new(const struct cr_matrix *q, bool backward, unsigned digits, struct cr_bound *out)
{
    size_t count = backward ? q->columns : q->rows, depth = backward ? q->rows : q->columns;
    CR_FREE uint64_t *squares = NULL;
    CR_TRY(cr_allocate(count, sizeof *squares, &squares));
    int most = 1;
    for (size_t i = 0; i < q->rows; i++) {
        const int8_t *row = (const int8_t *)q->data + i * q->stride;
        uint64_t sum = row_squares(row, q->columns, backward ? squares : NULL, &most);
        if (!backward) squares[i] = sum;
    }
    double half = (cr_prime(digits) - 1) / 2, norm = fmax(1, sqrt((double)largest(squares, count)));
    struct cr_bound bound = {.depth = depth,
                             .norm = norm,
                             .most = most,
                             .room_norm = half / norm - sqrt((double)depth) / 2,
                             .room_sum = half / most - (double)depth / 2};
    if (bound.room_norm < 1 && bound.room_sum < 1)
        return cr_fail(CR_UNSUPPORTED, "sums of %zu products do not fit a field of %u digits", depth, digits);
    *out = bound;
    return CR_OK;
}

double cr_bound_scale(const struct cr_bound *bound, double sum, double squares)
{
    // Above all that rounding can have taken from the norms, from the rooms, and from x/t.
    const double up = 1 + 0x1p-20;
    if (sum == 0) return 1;
    double by_norm = bound->room_norm < 1 ? INFINITY : sqrt(squares) * up / bound->room_norm;
    double by_sum = bound->room_sum < 1 ? INFINITY : sum * up / bound->room_sum;
    return fmin(by_norm, by_sum);
}
