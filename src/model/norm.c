#include "model/norm.h"

#include "tensor/ops.h"

size_t cr_norm_statistics(const struct cr_model_config *config, size_t rows)
{
    return config->layer_norm ? 2 * rows : rows;
}

void cr_norm_forward(const struct cr_model *model, const struct cr_norm *norm, struct cr_matrix x,
                     struct cr_matrix y, float *statistics)
{
    float epsilon = model->config.norm_epsilon;
    if (model->config.layer_norm)
        cr_layer_norm(model->compute, x, norm->weight, norm->bias, epsilon, y, statistics);
    else
        cr_rms_norm(model->compute, x, norm->weight, epsilon, y, statistics);
}

void cr_norm_backward(const struct cr_model *model, const struct cr_norm *norm, struct cr_matrix x,
                      const float *statistics, struct cr_matrix dy, struct cr_matrix dx, float *dweight,
                      float *dbias)
{
    if (model->config.layer_norm)
        cr_layer_norm_backward(model->compute, x, norm->weight, statistics, dy, dx, dweight);
    else
        cr_rms_norm_backward(model->compute, x, norm->weight, statistics, dy, dx, dweight);
    if (dbias) cr_add_column_sums(model->compute, dy, dbias);
}
