// How operations are cut into items for the threads: by the shape alone, so that results do not depend on the
// number of threads. Internal to tensor/.
#ifndef CARREL_TENSOR_SPLIT_H
#define CARREL_TENSOR_SPLIT_H

#include "tensor/kernels.h"

// An item is about this many elements: enough to make handing it out cheap, few enough to balance.
enum { CR_ITEM = 16384 };

// Rows of one item of a matrix with that many columns.
static inline size_t cr_item_rows(size_t columns)
{
    return columns == 0 || columns >= CR_ITEM ? 1 : CR_ITEM / columns;
}

static inline size_t cr_items(size_t count, size_t per_item)
{
    return (count + per_item - 1) / per_item;
}

static inline void *cr_at(const struct cr_matrix *m, size_t i, size_t j)
{
    return (unsigned char *)m->data + (i * m->stride + j) * cr_dtype_size(m->dtype);
}

// Loops over the rows i of an item; items have `per_item` rows each.
#define CR_FOR_ROWS(i, item, per_item, rows)                                                                 \
    for (size_t i = (item) * (per_item), i##_end = cr_least((rows), i + (per_item)); i < i##_end; i++)

#endif
