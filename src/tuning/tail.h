// A split model's tail with what was tuned in it, which computes what follows from the stream before its
// first layer on behalf of silos. One call at a time; texts share everything but their keys and values.
#ifndef CARREL_TUNING_TAIL_H
#define CARREL_TUNING_TAIL_H

#include "model/model.h"
#include "tuning/config.h"
#include "tuning/parameters.h"

// Opens the tail's model as it is trained with these settings: in 8 bits if they say so, and with slicing
// without the matrices of its linears.
enum cr_status cr_tail_open_model(const struct cr_tuning_config *config, struct cr_compute *compute,
                                  enum cr_dtype act, struct cr_model **out);

struct cr_tail;

// Opens the layers of the tail, and the adapter in `directory` (tuning/adapter.h). `compute` must outlive the
// tail.
enum cr_status cr_tail_open(const struct cr_tuning_config *config, const char *directory,
                            struct cr_compute *compute, struct cr_tail **out);
void cr_tail_free(struct cr_tail *tail); // NULL is allowed

// The parameters of the adapter, as they were read.
const struct cr_parameters *cr_tail_parameters(const struct cr_tail *tail);

// A text that is being generated: its keys and values, and the state of its random draws.
struct cr_tail_text;
enum cr_status cr_tail_text_new(const struct cr_tail *tail, double temperature, uint64_t seed,
                                struct cr_tail_text **out);
void cr_tail_text_free(struct cr_tail_text *text); // NULL is allowed

// Chooses the token after `rows` more rows, given as activations encoded as the settings say (tuning/cut.h).
// A text has at most data.max_length rows in all. After a failure the text is as it was before.
enum cr_status cr_tail_next(struct cr_tail *tail, struct cr_tail_text *text, const unsigned char *activations,
                            size_t rows, uint32_t *token);

// Sums over examples. Each group of `choices` examples belongs to one row, and the first is the right one:
// sums are over the right ones only, and, if there are several, `chosen` counts how often no other has a
// lower loss.
struct cr_tail_score {
    size_t choices, place; // place: index of the next example among its choices
    double right, lowest;  // losses within the present row
    double loss_sum;
    size_t correct, exact, chosen;
};

// Adds an example: `rows` rows of encoded activations, then their labels, int32.
enum cr_status cr_tail_score(struct cr_tail *tail, const unsigned char *example, size_t rows,
                             struct cr_tail_score *score);

#endif
