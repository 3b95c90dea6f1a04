// Norms of rows, of the kind that the model has. Private to model/.
#ifndef CARREL_MODEL_NORM_H
#define CARREL_MODEL_NORM_H

#include "model/model.h"

// The number of floats in `statistics`, which forward fills for backward, for so many rows.
size_t cr_norm_statistics(const struct cr_model_config *config, size_t rows);

// y [M,d] act = norm(x), x [M,d] F32.
void cr_norm_forward(const struct cr_model *model, const struct cr_norm *norm, struct cr_matrix x,
                     struct cr_matrix y, float *statistics);

// dx [M,d] F32 += the gradient from dy [M,d]; dweight and dbias [d] are added to, or NULL.
void cr_norm_backward(const struct cr_model *model, const struct cr_norm *norm, struct cr_matrix x,
                      const float *statistics, struct cr_matrix dy, struct cr_matrix dx, float *dweight,
                      float *dbias);

#endif
