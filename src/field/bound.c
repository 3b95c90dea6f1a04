#include "field/bound.h"

#include "field/prime.h"

#include <math.h>

static uint64_t largest(const uint64_t *values, size_t count)
{
    uint64_t most = 0;
    for (size_t i = 0; i < count; i++) most = values[i] > most ? values[i] : most;
    return most;
}

// Returns the sum of the squares of a row, adds each of them to its column's element of `down` (unless NULL),
// and raises *most to the row's largest magnitude.
static uint64_t row_squares(const int8_t *row, size_t count, uint64_t *down, int *most)
{
    enum { PIECE = 1 << 16 }; // at most 2^14 each, so that their sum fits 32 bits
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

size_t cr_bound_parts(size_t depth, bool backward)
{
    size_t deepest = backward ? CR_DEEPEST_BACKWARD : CR_DEEPEST_FORWARD;
    return depth > deepest ? (depth + deepest - 1) / deepest : 1;
}

size_t cr_bound_begin(size_t depth, size_t parts, size_t part)
{
    return depth * part / parts;
}

struct cr_matrix cr_bound_part(struct cr_matrix q, bool backward, size_t parts, size_t part)
{
    size_t depth = backward ? q.rows : q.columns;
    size_t begin = cr_bound_begin(depth, parts, part), count = cr_bound_begin(depth, parts, part + 1) - begin;
    struct cr_matrix slab = q;
    slab.data = (int8_t *)q.data + begin * (backward ? q.stride : 1);
    *(backward ? &slab.rows : &slab.columns) = count;
    return slab;
}

// Both rooms are always positive: (p−1)/2 is 2^22 − 8 at least, ‖Q_o‖₂ at most 128·√K, and √K below ROOT.
enum { ROOT = 91, HALF = (1 << 22) - 8 };
_Static_assert(ROOT *ROOT > CR_DEEPEST_FORWARD && ROOT * ROOT > CR_DEEPEST_BACKWARD, "a root of depths");
_Static_assert(HALF / (128 * ROOT) > 1 + ROOT / 2 && HALF / 128 > 1 + ROOT * ROOT / 2, "both bounds hold");

static struct cr_bound bound_of(struct cr_matrix q, bool backward, unsigned digits, uint64_t *squares)
{
    size_t count = backward ? q.columns : q.rows, depth = backward ? q.rows : q.columns;
    int most = 1;
    for (size_t i = 0; backward && i < count; i++) squares[i] = 0;
    for (size_t i = 0; i < q.rows; i++) {
        const int8_t *row = (const int8_t *)q.data + i * q.stride;
        uint64_t sum = row_squares(row, q.columns, backward ? squares : NULL, &most);
        if (!backward) squares[i] = sum;
    }
    double half = (cr_prime(digits) - 1) / 2, norm = fmax(1, sqrt((double)largest(squares, count)));
    return (struct cr_bound){.depth = depth,
                             .norm = norm,
                             .room_norm = half / norm - sqrt((double)depth) / 2,
                             .room_sum = half / most - (double)depth / 2};
}

enum cr_status cr_bound_new(const struct cr_matrix *q, bool backward, unsigned digits,
                            struct cr_bound *bounds)
{
    size_t depth = backward ? q->rows : q->columns, parts = cr_bound_parts(depth, backward);
    CR_FREE uint64_t *squares = NULL;
    CR_TRY(cr_allocate(backward ? q->columns : q->rows, sizeof *squares, &squares));
    for (size_t i = 0; i < parts; i++)
        bounds[i] = bound_of(cr_bound_part(*q, backward, parts, i), backward, digits, squares);
    return CR_OK;
}

double cr_bound_scale(const struct cr_bound *bound, double sum, double squares)
{
    // More than rounding can have changed the norms, the rooms, and x/t.
    const double up = 1 + 0x1p-20;
    if (sum == 0) return 1;
    return fmin(sqrt(squares) * up / bound->room_norm, sum * up / bound->room_sum);
}
