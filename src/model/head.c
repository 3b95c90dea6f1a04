// The end of a forward pass: final norm, head, loss, and the first step of the backward pass.
#include "model/head.h"

#include "model/norm.h"
#include "tensor/matmul.h"
#include "tensor/ops.h"

#include <string.h>

enum cr_status cr_head_logits(struct cr_walk *walk, struct cr_matrix stream, size_t count,
                              struct cr_matrix logits)
{
    const struct cr_model *model = walk->model;
    struct cr_matrix input = cr_matrix_rows(walk->head_input, 0, count);
    struct cr_matrix normed = cr_matrix_rows(walk->head_normed, 0, count);
    for (size_t i = 0; i < count; i++)
        memcpy(cr_row(&input, i), cr_row(&stream, walk->head_row[i]), stream.columns * sizeof(float));
    cr_norm_forward(model, &model->norm, input, normed, walk->head_norm);
    return model->head.provider->forward(&model->head, normed, logits);
}

// Computes the gradient of the stream's rows from that of the logits, and writes it to their rows of
// walk->gradient.
static enum cr_status head_back(struct cr_walk *walk, const struct cr_tuned *tuned, size_t count,
                                struct cr_matrix dlogits, size_t lowest)
{
    const struct cr_model *model = walk->model;
    struct cr_matrix normed = cr_matrix_rows(walk->head_normed, 0, count);
    struct cr_matrix gradient = cr_matrix_rows(walk->head_gradient, 0, count);
    if (tuned->head_gradient) {
        struct cr_matrix dweight =
            cr_matrix_of(tuned->head_gradient, CR_F32, model->head.out, model->head.in);
        CR_TRY(cr_matmul(model->compute, CR_TN, dlogits, normed, dweight, true));
    }
    if (lowest > cr_place_of(model->config.layers, 0)) return CR_OK;
    CR_TRY(model->head.provider->backward(&model->head, dlogits, normed, false));
    memset(gradient.data, 0, count * gradient.stride * sizeof(float));
    cr_norm_backward(model, &model->norm, cr_matrix_rows(walk->head_input, 0, count), walk->head_norm, normed,
                     gradient, tuned->norm_gradient, tuned->norm_bias_gradient);
    for (size_t i = 0; i < count; i++)
        memcpy(cr_row(&walk->gradient, walk->head_row[i]), cr_row(&gradient, i),
               gradient.columns * sizeof(float));
    return CR_OK;
}

enum cr_status cr_head_loss(struct cr_walk *walk, const struct cr_tuned *tuned, struct cr_matrix stream,
                            size_t count, float scale, double *loss_sum)
{
    const struct cr_model *model = walk->model;
    size_t lowest = cr_walk_lowest(walk, tuned);
    bool back = scale > 0 && lowest != SIZE_MAX;
    struct cr_matrix logits = cr_matrix_rows(walk->head_logits, 0, count);
    struct cr_matrix dlogits = {0};
    if (back) dlogits = cr_matrix_rows(walk->head_dlogits, 0, count);
    CR_TRY(cr_head_logits(walk, stream, count, logits));
    cr_cross_entropy(model->compute, logits, walk->head_label, scale, walk->head_loss, walk->head_correct,
                     dlogits);
    if (back) CR_TRY(head_back(walk, tuned, count, dlogits, lowest));
    // Row by row, so that the sum does not depend on how many rows are processed at a time.
    for (size_t i = 0; i < count; i++) *loss_sum += (double)walk->head_loss[i];
    return CR_OK;
}
