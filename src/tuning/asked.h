// Who has the rest of a model of which a session has the front alone, and is asked what follows from what the
// front made of a text.
#ifndef CARREL_TUNING_ASKED_H
#define CARREL_TUNING_ASKED_H

#include "tuning/write.h"

struct cr_asked {
    size_t context; // tokens of a text at most
    // Begins a text that is to be written, as a writer has these two; or so many examples that are to be
    // scored, of which `choices` each are of one row, the right one first.
    enum cr_status (*begin_text)(struct cr_asked *self, double temperature, uint64_t seed);
    enum cr_status (*begin_examples)(struct cr_asked *self, size_t examples, size_t choices);
    // The stream of more tokens, F32; of an example with all of its labels, otherwise NULL.
    enum cr_status (*put)(struct cr_asked *self, struct cr_matrix stream, const int32_t *labels);
    // The token behind all that was put.
    enum cr_status (*next)(struct cr_asked *self, uint32_t *token);
    // What was put is one example; with the last one the losses of all, and how many are right, are in
    // *tally.
    enum cr_status (*example)(struct cr_asked *self, struct cr_tally *tally);
};

// cr_session_write and the evaluation of a file, for a session whose `asked` is there.
enum cr_status cr_asked_write(const struct cr_session *session, const struct cr_writer *writer,
                              struct cr_ids *ids, bool *ended);
enum cr_status cr_asked_evaluate(const struct cr_session *session, const struct cr_dataset *data,
                                 struct cr_tally *tally);

#endif
