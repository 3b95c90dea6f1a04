// A frozen linear layer: the one interface through which every product with the frozen base goes.
//
// A provider computes y = x Wᵀ and dx = dy W for a W [out, in] that nobody changes while a pass runs. Where
// the product is computed (here, or by an accelerator on masked data) is the provider's affair; the
// transformer never knows. Modules that share their input (q, k, v; gate, up) are one linear with their rows
// stacked, so that each is one product.
#ifndef CARREL_MODEL_LINEAR_H
#define CARREL_MODEL_LINEAR_H

#include "tensor/compute.h"

struct cr_linear;

struct cr_linear_provider {
    // y [M,out] act (or F32) = x Wᵀ (+ bias where the layer has one); x [M,in] act.
    enum cr_status (*forward)(const struct cr_linear *self, struct cr_matrix x, struct cr_matrix y);
    // dx [M,in] act or F32 = dy W, or dx += dy W with `accumulate` (dx F32); dy [M,out] act.
    enum cr_status (*backward)(const struct cr_linear *self, struct cr_matrix dy, struct cr_matrix dx,
                               bool accumulate);
    void (*release)(struct cr_linear *self);
};

struct cr_linear {
    const struct cr_linear_provider *provider;
    size_t in, out;
    struct cr_compute *compute; // borrowed
    struct cr_matrix weight;    // of linear_local; no data where the weight is elsewhere
    const float *bias;          // [out], or NULL
    void *state;                // of other providers
};

// The provider that computes here: weight [out,in] in the activation type or I8 with scales, and bias [out]
// (or NULL), borrowed, as is `compute`.
void cr_linear_local_init(struct cr_compute *compute, struct cr_matrix weight, const float *bias,
                          struct cr_linear *out);

// Of a model without its matrices: a linear [out,in] that computes nothing (CR_INTERNAL) until another
// provider takes its place. `bias` [out] (or NULL) is borrowed.
void cr_linear_outside_init(struct cr_compute *compute, size_t out_features, size_t in_features,
                            const float *bias, struct cr_linear *out);

#endif
