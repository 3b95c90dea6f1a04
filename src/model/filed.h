// Linears whose matrices stay in the checkpoint: each product reads its own, in float32. A
// model takes the memory of its largest linear and of its embedding then, whatever type it is filed in, and a
// walk the time of reading all.
#ifndef CARREL_MODEL_FILED_H
#define CARREL_MODEL_FILED_H

#include "model/model.h"

// Is given each module's weight [out,in] (and the head's [V,d]) as it was read, and may change it before it
// is multiplied with.
struct cr_filed_change {
    enum cr_status (*change)(void *context, const struct cr_model_parameter *parameter, float *values);
    void *context;
    // Room for one linear's matrix, kept from product to product: fresh memory costs as much as the product.
    float *room;
    size_t room_size; // in numbers
};

// Frees the room, between walks; the next product makes it anew.
void cr_filed_forget(struct cr_filed_change *change);

// Takes the place of all linears of a model of CR_MODEL_OUTSIDE in F32, forward alone. A weight with NaN
// or infinity, read or changed, is CR_INVALID when it is met. `change` is borrowed.
enum cr_status cr_filed_attach(struct cr_model *model, struct cr_filed_change *change);

#endif
