#include "tuning/evaluate.h"

#include <math.h>

_Static_assert((int)CR_UNLABELLED == (int)CR_LABEL_IGNORE,
               "text and model mean the same by an ignored label");

struct cr_rows cr_rows_of(const struct cr_batch *batch)
{
    return (struct cr_rows){
        .sequences = batch->sequences,
        .rows = batch->rows,
        .offset = batch->offset,
        .tokens = batch->tokens,
        .position = batch->position,
        .labels = batch->labels,
    };
}

void cr_tally_add(struct cr_tally *sum, const struct cr_tally *more)
{
    sum->loss_sum += more->loss_sum;
    sum->labelled += more->labelled;
    sum->correct += more->correct;
    sum->examples += more->examples;
    sum->exact += more->exact;
    sum->tokens += more->tokens;
    sum->steps += more->steps;
}

static enum cr_status evaluate_batch(const struct cr_model *model, struct cr_pass *pass,
                                     const struct cr_tuned *tuned, const struct cr_batch *batch, bool *right,
                                     struct cr_tally *tally)
{
    struct cr_rows rows = cr_rows_of(batch);
    double loss = 0;
    CR_TRY(cr_pass_forward(pass, tuned, &rows, 0, model->config.layers));
    CR_TRY(cr_pass_loss(pass, tuned, &rows, 0, &loss, right));
    if (!isfinite(loss)) return cr_model_fail_nonfinite(model, "evaluation: the loss", "");
    tally->loss_sum += loss;
    for (size_t s = 0; s < batch->sequences; s++) {
        bool all = true;
        for (size_t i = batch->offset[s]; i < batch->offset[s + 1]; i++) {
            all = all && right[i];
            tally->correct += batch->labels[i] != CR_LABEL_IGNORE && right[i];
        }
        tally->exact += all;
    }
    tally->examples += batch->sequences;
    tally->labelled += batch->labelled;
    tally->tokens += batch->rows;
    return CR_OK;
}

enum cr_status cr_evaluate(const struct cr_model *model, struct cr_pass *pass, const struct cr_tuned *tuned,
                           const struct cr_dataset *data, struct cr_batch *batch, struct cr_tally *tally)
{
    CR_FREE bool *right = NULL;
    CR_TRY(cr_allocate(batch->row_capacity, sizeof *right, &right));
    struct cr_tally sum = *tally;
    size_t i = 0, count = cr_dataset_count(data);
    while (i < count) {
        cr_batch_clear(batch);
        do {
            CR_TRY(cr_batch_add(batch, cr_dataset_at(data, i)));
            i++;
        } while (i < count && batch->sequences < batch->sequence_capacity &&
                 batch->rows + cr_dataset_at(data, i).count <= batch->row_capacity);
        CR_TRY(evaluate_batch(model, pass, tuned, batch, right, &sum));
    }
    *tally = sum;
    return CR_OK;
}
