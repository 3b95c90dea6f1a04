// A split model's tail with what was tuned in it, for who asks what follows from the stream before its first
// layer. One call at a time; texts share all but their keys and values.
#ifndef CARREL_TUNING_TAIL_H
#define CARREL_TUNING_TAIL_H

#include "model/model.h"
#include "tuning/config.h"
#include "tuning/parameters.h"

// The model of these settings' tail as it is trained: in 8 bits where they say so, and with slicing without
// the matrices of its linears.
enum cr_status cr_tail_open_model(const struct cr_tuning_config *config, struct cr_compute *compute,
                                  enum cr_dtype act, struct cr_model **out);

struct cr_tail;

// Opens the layers of these settings' tail, and in `directory` what was tuned (tuning/adapter.h). `compute`
// must outlive it.
enum cr_status cr_tail_open(const struct cr_tuning_config *config, const char *directory,
                            struct cr_compute *compute, struct cr_tail **out);
void cr_tail_free(struct cr_tail *tail); // NULL is allowed

// What was tuned, as it came.
const struct cr_parameters *cr_tail_parameters(const struct cr_tail *tail);

// A text that is being written: its past, and the draws to come.
struct cr_tail_text;
enum cr_status cr_tail_text_new(const struct cr_tail *tail, double temperature, uint64_t seed,
                                struct cr_tail_text **out);
void cr_tail_text_free(struct cr_tail_text *text); // NULL is allowed

// The token behind so many more rows, at most those of a text in all (data.max_length): their activations,
// coded as the settings say (tuning/cut.h). After a failure the text stands where it stood.
enum cr_status cr_tail_next(struct cr_tail *tail, struct cr_tail_text *text, const unsigned char *activations,
                            size_t rows, uint32_t *token);

// Sums over examples. Of `choices` examples each, which are of one row, the first is the right one: the sums
// are of these alone, and, where there are several, of how often no other has a lower loss.
struct cr_tail_score {
    size_t choices, place; // of the next among them
    double right, lowest;  // losses of the row at hand
    double loss_sum;
    size_t correct, exact, chosen;
};

// Adds an example: its activations, then its labels, int32.
enum cr_status cr_tail_score(struct cr_tail *tail, const unsigned char *example, size_t rows,
                             struct cr_tail_score *score);

#endif
