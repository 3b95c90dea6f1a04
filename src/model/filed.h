// Linears whose matrices stay in the checkpoint: each product reads its own matrix, in float32. Such a model
// takes the memory of its largest linear and of its embedding, whatever type the files have, and each pass
// takes the time of reading all matrices.
#ifndef CARREL_MODEL_FILED_H
#define CARREL_MODEL_FILED_H

#include "model/model.h"

// `change` gets each module's weight [out,in] (and the head's [V,d]) as it was read, and may modify it before
// the product.
struct cr_filed_change {
    enum cr_status (*change)(void *context, const struct cr_model_parameter *parameter, float *values);
    void *context;
    // Buffer for one linear's matrix, kept between products: allocating it again costs as much as the
    // product.
    float *room;
    size_t room_size; // in floats
};

// Frees the buffer, between passes; the next product allocates it again.
void cr_filed_forget(struct cr_filed_change *change);

// Becomes the provider of all linears of a CR_MODEL_OUTSIDE model in F32; forward only. A weight that is NaN
// or infinite, as read or after the change, returns CR_INVALID when it is used. `change` is borrowed.
enum cr_status cr_filed_attach(struct cr_model *model, struct cr_filed_change *change);

#endif
