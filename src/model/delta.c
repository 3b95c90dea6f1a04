#include "model/delta.h"

// How many parts from the first on are of its kind.
static size_t of_one_kind(const struct cr_delta_part *parts, size_t count)
{
    size_t n = 1;
    while (n < count && parts[n].delta->kind == parts->delta->kind) n++;
    return n;
}

enum cr_status cr_deltas_forward(const struct cr_delta_part *y, size_t count, struct cr_matrix x)
{
    for (size_t i = 0, n; i < count; i += n) {
        n = of_one_kind(y + i, count - i);
        if (y[i].delta->kind->forward) CR_TRY(y[i].delta->kind->forward(y + i, n, x));
    }
    return CR_OK;
}

enum cr_status cr_deltas_backward(const struct cr_delta_part *dy, size_t count, struct cr_matrix x,
                                  struct cr_matrix dx)
{
    for (size_t i = 0, n; i < count; i += n) {
        n = of_one_kind(dy + i, count - i);
        if (dy[i].delta->kind->backward) CR_TRY(dy[i].delta->kind->backward(dy + i, n, x, dx));
    }
    return CR_OK;
}
