// A frozen linear layer: the one interface through which every product with the frozen base goes.
//
// A provider computes y = x Wᵀ and dx = dy W for a W [out, in] that does not change during a pass. Where it
// computes them (in this process, or by an accelerator on masked data) is up to the provider; the transformer
// does not know. Modules that share their input (q, k, v; gate, up) form one linear with their rows stacked,
// so that they take one product.
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
    struct cr_matrix weight;    // of the local provider; no data if the weight is elsewhere
    const float *bias;          // [out], or NULL
    void *state;                // for other providers
};

// The provider that computes in this process. weight [out,in] (F32, BF16, or I8 with scales), bias [out] (or
// NULL) and `compute` are borrowed.
void cr_linear_local_init(struct cr_compute *compute, struct cr_matrix weight, const float *bias,
                          struct cr_linear *out);

// For a model without its matrices: a linear [out,in] whose products fail with CR_INTERNAL until another
// provider takes its place. `bias` [out] (or NULL) is borrowed.
void cr_linear_outside_init(struct cr_compute *compute, size_t out_features, size_t in_features,
                            const float *bias, struct cr_linear *out);

#endif
