// The provider that computes in this process, and the one for linears whose matrices are elsewhere.
#include "model/linear.h"

#include "tensor/matmul.h"
#include "tensor/ops.h"

static enum cr_status local_forward(const struct cr_linear *self, struct cr_matrix x, struct cr_matrix y)
{
    CR_TRY(cr_matmul(self->compute, CR_NT, x, self->weight, y, false));
    if (self->bias) cr_add_row(self->compute, y, self->bias);
    return CR_OK;
}

static enum cr_status local_backward(const struct cr_linear *self, struct cr_matrix dy, struct cr_matrix dx,
                                     bool accumulate)
{
    return cr_matmul(self->compute, CR_NN, dy, self->weight, dx, accumulate);
}

// The weight is borrowed.
static void local_release(struct cr_linear *self)
{
    *self = (struct cr_linear){0};
}

static const struct cr_linear_provider local = {local_forward, local_backward, local_release};

void cr_linear_local_init(struct cr_compute *compute, struct cr_matrix weight, const float *bias,
                          struct cr_linear *out)
{
    *out = (struct cr_linear){.provider = &local,
                              .in = weight.columns,
                              .out = weight.rows,
                              .compute = compute,
                              .weight = weight,
                              .bias = bias};
}

static enum cr_status outside_forward(const struct cr_linear *self, struct cr_matrix x, struct cr_matrix y)
{
    (void)self, (void)x, (void)y;
    return cr_fail(CR_INTERNAL, "a product with a matrix that is not here");
}

static enum cr_status outside_backward(const struct cr_linear *self, struct cr_matrix dy, struct cr_matrix dx,
                                       bool accumulate)
{
    (void)accumulate;
    return outside_forward(self, dy, dx);
}

static const struct cr_linear_provider outside = {outside_forward, outside_backward, local_release};

void cr_linear_outside_init(struct cr_compute *compute, size_t out_features, size_t in_features,
                            const float *bias, struct cr_linear *out)
{
    *out = (struct cr_linear){
        .provider = &outside, .in = in_features, .out = out_features, .compute = compute, .bias = bias};
}
