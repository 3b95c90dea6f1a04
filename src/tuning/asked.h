// The interface to whoever holds the tail of a split model, for a session that holds only the front: it
// computes what follows from the front's output for a text.
#ifndef CARREL_TUNING_ASKED_H
#define CARREL_TUNING_ASKED_H

#include "tuning/write.h"

struct cr_asked {
    size_t context; // tokens of a text, at most
    // begin_text begins a text to generate; its arguments are those of struct cr_writer. begin_examples
    // begins `examples` examples to score; each group of `choices` of them belongs to one row, the right one
    // first.
    enum cr_status (*begin_text)(struct cr_asked *self, double temperature, uint64_t seed);
    enum cr_status (*begin_examples)(struct cr_asked *self, size_t examples, size_t choices);
    // Sends the front's residual stream for further tokens, F32; `labels` are all those of an example, NULL
    // for a text.
    enum cr_status (*put)(struct cr_asked *self, struct cr_matrix stream, const int32_t *labels);
    // Returns the token that follows everything sent.
    enum cr_status (*next)(struct cr_asked *self, uint32_t *token);
    // Ends an example, which is everything sent since the last one. After the last example *tally has the
    // losses of all, and how many are right.
    enum cr_status (*example)(struct cr_asked *self, struct cr_tally *tally);
};

// cr_session_write, and the evaluation of a file, for a session whose `asked` is not NULL.
enum cr_status cr_asked_write(const struct cr_session *session, const struct cr_writer *writer,
                              struct cr_ids *ids, bool *ended);
enum cr_status cr_asked_evaluate(const struct cr_session *session, const struct cr_dataset *data,
                                 struct cr_tally *tally);

#endif
