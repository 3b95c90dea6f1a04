// What a tuned structure attaches to a module: LoRA, sparse rows, or the collector of a full weight's
// gradient.
//
// Modules that share their input are processed together, so that a kind can combine their products with it
// into one.
#ifndef CARREL_MODEL_DELTA_H
#define CARREL_MODEL_DELTA_H

#include "base/status.h"
#include "tensor/compute.h"

struct cr_delta {
    const struct cr_delta_kind *kind;
};

// A module's delta, and the module's columns of the linear's y or dy.
struct cr_delta_part {
    struct cr_delta *delta;
    struct cr_matrix columns;
};

// The functions take parts that share their input and are all of this kind, in the order of their modules.
// Any matrix may be a view with a stride.
struct cr_delta_kind {
    // y += delta(x): x [M,in] act, y [M,out] act (F32 for o_proj and down_proj). NULL: the deltas add
    // nothing.
    enum cr_status (*forward)(const struct cr_delta_part *y, size_t count, struct cr_matrix x);
    // Adds this batch's gradient to the deltas' own gradients, and the deltas' contribution to dx: x [M,in]
    // act, dy [M,out] act, dx [M,in] F32. dx.data is NULL if nothing before these modules needs it. NULL: the
    // deltas are not being trained and contribute nothing.
    enum cr_status (*backward)(const struct cr_delta_part *dy, size_t count, struct cr_matrix x,
                               struct cr_matrix dx);
};

// The same for parts of any kinds.
enum cr_status cr_deltas_forward(const struct cr_delta_part *y, size_t count, struct cr_matrix x);
enum cr_status cr_deltas_backward(const struct cr_delta_part *dy, size_t count, struct cr_matrix x,
                                  struct cr_matrix dx);

#endif
