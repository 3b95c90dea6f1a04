// Loss and accuracy of a model on labelled tokens.
#ifndef CARREL_TUNING_EVALUATE_H
#define CARREL_TUNING_EVALUATE_H

#include "model/pass.h"
#include "text/batch.h"
#include "tuning/front.h"
#include "tuning/trainer.h"

// The most sequences in a batch of an evaluation, if its rows suffice.
enum { CR_EVALUATION_SEQUENCES = 64 };

// Runs every example of `data` forward, as many at a time as `batch` (whose capacity is at most the pass's)
// holds, and adds to `tally`. `front` is the front of `data`, or NULL if passes begin with the embedding. An
// example longer than the batch returns CR_INVALID. If examples are choices of a row (cr_dataset_choices),
// the tally counts the right ones, and how often these are the likeliest. keep_going (NULL: always true) is
// called before each batch; CR_CANCELLED if it returns false.
enum cr_status cr_evaluate(const struct cr_model *model, struct cr_pass *pass, const struct cr_tuned *tuned,
                           const struct cr_dataset *data, struct cr_front_cache *front,
                           struct cr_batch *batch, struct cr_tally *tally, bool (*keep_going)(void *context),
                           void *context);

// The rows that the batch must have: those of the longest example, or of the choices of one row together.
size_t cr_evaluation_rows(const struct cr_dataset *data);

// The batch in the form that a pass takes.
struct cr_rows cr_rows_of(const struct cr_batch *batch);

#endif
