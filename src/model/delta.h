// What a tuned structure attaches to a module: LoRA, sparse rows, or the collector of a full weight's
// gradient.
//
// Modules that share their input are walked together, so that a kind can take their products with it as one.
#ifndef CARREL_MODEL_DELTA_H
#define CARREL_MODEL_DELTA_H

#include "base/status.h"
#include "tensor/compute.h"

struct cr_delta {
    const struct cr_delta_kind *kind;
};

// A module's delta and its columns of the linear's y or dy.
struct cr_delta_part {
    struct cr_delta *delta;
    struct cr_matrix columns;
};

// Of parts that share their input, all of this kind, in the order of their modules. Any view may have a
// stride.
struct cr_delta_kind {
    // y += delta(x): x [M,in] act, y [M,out] act (F32 for o_proj and down_proj). May be NULL: adds nothing.
    enum cr_status (*forward)(const struct cr_delta_part *y, size_t count, struct cr_matrix x);
    // Adds this batch's gradient to the deltas' own; dx += their share: x [M,in] act, dy [M,out] act, dx
    // [M,in] F32. dx.data is NULL where nothing before these modules needs it. May be NULL: a delta that is
    // not being trained and adds nothing.
    enum cr_status (*backward)(const struct cr_delta_part *dy, size_t count, struct cr_matrix x,
                               struct cr_matrix dx);
};

// The same of parts of any kinds.
enum cr_status cr_deltas_forward(const struct cr_delta_part *y, size_t count, struct cr_matrix x);
enum cr_status cr_deltas_backward(const struct cr_delta_part *dy, size_t count, struct cr_matrix x,
                                  struct cr_matrix dx);

#endif
