// Loss and accuracy of a model on labelled tokens.
#ifndef CARREL_TUNING_EVALUATE_H
#define CARREL_TUNING_EVALUATE_H

#include "model/pass.h"
#include "text/batch.h"
#include "tuning/front.h"
#include "tuning/trainer.h"

// Sequences that a walk of an evaluation may hold, where its rows allow.
enum { CR_EVALUATION_SEQUENCES = 64 };

// Walks forward over every example of `data`, as many at a time as `batch` (whose capacity is at most the
// pass's) takes, and adds to `tally`. `front` is data's, or NULL: walks begin with the embedding. An example
// longer than the batch is CR_INVALID. Where examples are choices of a row (cr_dataset_choices), the tally is
// of the right ones, and of how often they are the likeliest. keep_going (NULL: always) is asked before each
// batch; CR_CANCELLED where it says no.
enum cr_status cr_evaluate(const struct cr_model *model, struct cr_pass *pass, const struct cr_tuned *tuned,
                           const struct cr_dataset *data, struct cr_front_cache *front,
                           struct cr_batch *batch, struct cr_tally *tally, bool (*keep_going)(void *context),
                           void *context);

// Rows that the batch needs at least: the longest example, or the choices of one row together.
size_t cr_evaluation_rows(const struct cr_dataset *data);

// The batch as a pass wants it.
struct cr_rows cr_rows_of(const struct cr_batch *batch);

#endif
