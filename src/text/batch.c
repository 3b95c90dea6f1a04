#include "text/batch.h"

#include <stdlib.h>
#include <string.h>

static enum cr_status allocate(struct cr_batch *batch, size_t sequences, size_t rows)
{
    batch->sequence_capacity = sequences;
    batch->row_capacity = rows;
    CR_TRY(cr_allocate(sequences + 1, sizeof *batch->offset, &batch->offset));
    CR_TRY(cr_allocate(sequences, sizeof *batch->example, &batch->example));
    CR_TRY(cr_allocate(rows, sizeof *batch->tokens, &batch->tokens));
    CR_TRY(cr_allocate(rows, sizeof *batch->labels, &batch->labels));
    return cr_allocate(rows, sizeof *batch->position, &batch->position);
}

enum cr_status cr_batch_new(size_t sequences, size_t rows, struct cr_batch **out)
{
    if (sequences == 0 || rows == 0 || sequences == SIZE_MAX)
        return cr_fail(CR_INVALID, "a batch of %zu sequences and %zu rows", sequences, rows);
    struct cr_batch *batch;
    CR_TRY(cr_allocate(1, sizeof *batch, &batch));
    enum cr_status status = allocate(batch, sequences, rows);
    if (status != CR_OK)
        cr_batch_free(batch);
    else
        *out = batch;
    return status;
}

void cr_batch_free(struct cr_batch *batch)
{
    if (!batch) return;
    if (batch->tokens) cr_wipe(batch->tokens, batch->row_capacity * sizeof *batch->tokens);
    if (batch->labels) cr_wipe(batch->labels, batch->row_capacity * sizeof *batch->labels);
    free(batch->offset);
    free(batch->example);
    free(batch->tokens);
    free(batch->labels);
    free(batch->position);
    free(batch);
}

void cr_batch_clear(struct cr_batch *batch)
{
    batch->sequences = batch->rows = batch->labelled = 0;
}

enum cr_status cr_batch_add(struct cr_batch *batch, struct cr_example example)
{
    if (batch->sequences == batch->sequence_capacity)
        return cr_fail(CR_INVALID, "a batch of %zu sequences is full", batch->sequence_capacity);
    if (example.count == 0) return cr_fail(CR_INVALID, "an example without tokens");
    if (example.count > batch->row_capacity - batch->rows)
        return cr_fail(CR_INVALID, "an example of %zu tokens does not fit: %zu of %zu are left in the batch",
                       example.count, batch->row_capacity - batch->rows, batch->row_capacity);
    size_t start = batch->rows;
    memcpy(batch->tokens + start, example.tokens, example.count * sizeof *batch->tokens);
    memcpy(batch->labels + start, example.labels, example.count * sizeof *batch->labels);
    for (size_t i = 0; i < example.count; i++) batch->position[start + i] = (uint32_t)i;
    batch->rows += example.count;
    batch->labelled += example.labelled;
    batch->example[batch->sequences] = example.number;
    batch->offset[++batch->sequences] = batch->rows;
    return CR_OK;
}
