#include "field/bound.h"

#include "field/prime.h"

#include <math.h>

static uint64_t largest(const uint64_t *values, size_t count)
{
    uint64_t most = 0;
    for (size_t i = 0; i < count; i++) most = values[i] > most ? values[i] : most;
    return most;
}

enum cr_status cr_bound_new(const struct cr_matrix *q, bool backward, unsigned digits, struct cr_bound *out)
{
    size_t count = backward ? q->columns : q->rows, depth = backward ? q->rows : q->columns;
    CR_FREE uint64_t *squares = NULL;
    CR_TRY(cr_allocate(count, sizeof *squares, &squares));
    int most = 1;
    for (size_t i = 0; i < q->rows; i++) {
        const int8_t *row = (const int8_t *)q->data + i * q->stride;
        uint64_t sum = 0;
        for (size_t j = 0; j < q->columns; j++) {
            int value = row[j] < 0 ? -row[j] : row[j];
            most = value > most ? value : most;
            sum += (uint64_t)(value * value);
            if (backward) squares[j] += (uint64_t)(value * value);
        }
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
