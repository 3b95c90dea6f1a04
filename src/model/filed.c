#include "model/filed.h"

#include "base/mapping.h"
#include "model/frozen.h"
#include "tensor/ops.h"

#include <stdlib.h>

struct filed {
    struct cr_model *model;
    size_t linear; // its number in model/frozen.h
    struct cr_filed_change *change;
};

static enum cr_status read_weight(const struct filed *filed, const struct cr_model_parameter *parameter,
                                  float *values)
{
    const struct cr_model *model = filed->model;
    const struct cr_tensor_entry *entry = cr_parameter_entry(parameter, model->weights);
    CR_TRY(cr_parameter_decode(model->compute, parameter, entry->bytes, entry->dtype, values));
    cr_file_drop(entry->bytes);
    CR_TRY(filed->change->change(filed->change->context, parameter, values));
    if (cr_all_finite(model->compute, values, parameter->rows * parameter->columns)) return CR_OK;
    return cr_fail(CR_INVALID, "%s: tensor %s holds NaN or infinity", cr_safetensors_name(model->weights),
                   parameter->name);
}

void cr_filed_forget(struct cr_filed_change *change)
{
    cr_free(&change->room);
    change->room_size = 0;
}

static enum cr_status make_room(struct cr_filed_change *change, size_t count)
{
    if (count <= change->room_size) return CR_OK;
    cr_filed_forget(change);
    CR_TRY(cr_allocate(count, sizeof *change->room, &change->room));
    change->room_size = count;
    return CR_OK;
}

static enum cr_status filed_forward(const struct cr_linear *self, struct cr_matrix x, struct cr_matrix y)
{
    const struct filed *filed = self->state;
    const struct cr_model_parameter *parts[CR_FROZEN_MOST_PARTS];
    size_t count = cr_frozen_parts(filed->model, filed->linear, parts), at = 0;
    CR_TRY(make_room(filed->change, self->out * self->in));
    float *values = filed->change->room;
    for (size_t i = 0; i < count; at += parts[i]->rows * parts[i]->columns, i++)
        CR_TRY(read_weight(filed, parts[i], values + at));
    struct cr_linear local;
    cr_linear_local_init(self->compute, cr_matrix_of(values, CR_F32, self->out, self->in), self->bias,
                         &local);
    return local.provider->forward(&local, x, y);
}

static void filed_release(struct cr_linear *self)
{
    free(self->state);
    *self = (struct cr_linear){0};
}

static const struct cr_linear_provider provider = {.forward = filed_forward, .release = filed_release};

enum cr_status cr_filed_attach(struct cr_model *model, struct cr_filed_change *change)
{
    if (!model->outside || model->act != CR_F32)
        return cr_fail(CR_INTERNAL, "the model was not opened in float32 without its matrices");
    for (size_t i = 0; i < cr_frozen_count(model); i++) {
        struct cr_linear *linear = cr_frozen_linear(model, i);
        struct filed *filed;
        CR_TRY(cr_allocate(1, sizeof *filed, &filed));
        *filed = (struct filed){model, i, change};
        linear->provider = &provider;
        linear->state = filed;
    }
    return CR_OK;
}
