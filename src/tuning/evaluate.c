#include "tuning/evaluate.h"

#include "base/words.h"

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
    sum->chosen += more->chosen;
    sum->skipped += more->skipped;
    sum->bad_rows += more->bad_rows;
    sum->tokens += more->tokens;
    sum->steps += more->steps;
}

// What one evaluation uses.
struct evaluation {
    const struct cr_model *model;
    struct cr_pass *pass;
    const struct cr_tuned *tuned;
    const struct cr_dataset *data;
    struct cr_front_cache *front;
    struct cr_batch *batch;
    bool *right; // [row_capacity]
    struct cr_tally *tally;
};

// Counts sequences [first, last); `right` has a flag for each of their rows.
static void count_right(const struct evaluation *evaluation, size_t first, size_t last)
{
    const struct cr_batch *batch = evaluation->batch;
    struct cr_tally *tally = evaluation->tally;
    for (size_t s = first; s < last; s++) {
        bool all = true;
        for (size_t i = batch->offset[s]; i < batch->offset[s + 1]; i++) {
            bool labelled = batch->labels[i] != CR_LABEL_IGNORE;
            all = all && evaluation->right[i];
            tally->correct += labelled && evaluation->right[i];
            tally->labelled += labelled;
        }
        tally->exact += all;
    }
    tally->examples += last - first;
}

// Each group of `choices` sequences belongs to one row; the tally counts the right ones.
static void choose(const struct evaluation *evaluation, size_t choices, size_t example)
{
    const struct cr_batch *batch = evaluation->batch;
    const float *losses = cr_pass_row_losses(evaluation->pass);
    double best = INFINITY, right = INFINITY;
    for (size_t s = 0; s < batch->sequences; s++) {
        double loss = 0;
        for (size_t i = batch->offset[s]; i < batch->offset[s + 1]; i++) loss += (double)losses[i];
        best = fmin(best, loss);
        if (cr_dataset_at(evaluation->data, example + s).right) {
            right = loss;
            evaluation->tally->loss_sum += loss;
            count_right(evaluation, s, s + 1);
        }
        if ((s + 1) % choices != 0) continue;
        evaluation->tally->chosen += right <= best;
        best = right = INFINITY;
    }
}

static enum cr_status evaluate_batch(const struct evaluation *evaluation, size_t choices, size_t example)
{
    const struct cr_batch *batch = evaluation->batch;
    struct cr_rows rows = cr_rows_of(batch);
    CR_TRY(cr_front_forward(evaluation->front, evaluation->pass, evaluation->tuned, batch,
                            evaluation->model->config.layers));
    evaluation->tally->tokens += batch->rows;
    double loss = 0;
    CR_TRY(cr_pass_loss(evaluation->pass, evaluation->tuned, &rows, 0, &loss, evaluation->right));
    if (!isfinite(loss)) return cr_model_fail_nonfinite(evaluation->model, "evaluation: the loss", "");
    if (choices > 1) {
        choose(evaluation, choices, example);
        return CR_OK;
    }
    evaluation->tally->loss_sum += loss;
    count_right(evaluation, 0, batch->sequences);
    return CR_OK;
}

// Tokens of all examples of one row.
static size_t group_rows(const struct cr_dataset *data, size_t example)
{
    size_t rows = 0;
    for (size_t k = 0; k < cr_dataset_choices(data); k++) rows += cr_dataset_at(data, example + k).count;
    return rows;
}

size_t cr_evaluation_rows(const struct cr_dataset *data)
{
    size_t rows = 0, choices = cr_dataset_choices(data);
    for (size_t i = 0; i < cr_dataset_count(data); i += choices) rows = cr_most(rows, group_rows(data, i));
    return rows;
}

enum cr_status cr_evaluate(const struct cr_model *model, struct cr_pass *pass, const struct cr_tuned *tuned,
                           const struct cr_dataset *data, struct cr_front_cache *front,
                           struct cr_batch *batch, struct cr_tally *tally, bool (*keep_going)(void *context),
                           void *context)
{
    CR_FREE bool *right = NULL;
    CR_TRY(cr_allocate(batch->row_capacity, sizeof *right, &right));
    struct cr_tally sum = *tally;
    const struct evaluation evaluation = {model, pass, tuned, data, front, batch, right, &sum};
    char done[CR_COUNT_SIZE], all[CR_COUNT_SIZE];
    size_t i = 0, count = cr_dataset_count(data), choices = cr_dataset_choices(data);
    while (i < count) {
        size_t first = i;
        if (keep_going && !keep_going(context))
            return cr_fail(CR_CANCELLED, "evaluation: stopped after %s of %s examples",
                           cr_count_text(i, done), cr_count_text(count, all));
        cr_batch_clear(batch);
        do {
            for (size_t k = 0; k < choices; k++) CR_TRY(cr_batch_add(batch, cr_dataset_at(data, i++)));
        } while (i < count && batch->sequences + choices <= batch->sequence_capacity &&
                 batch->rows + group_rows(data, i) <= batch->row_capacity);
        CR_TRY(evaluate_batch(&evaluation, choices, first));
    }
    *tally = sum;
    return CR_OK;
}
