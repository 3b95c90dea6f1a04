// A session's model writes: token after token behind a prompt, and its answers to a file's rows beside what
// the rows say.
#ifndef CARREL_TUNING_WRITE_H
#define CARREL_TUNING_WRITE_H

#include "text/score.h"
#include "tuning/session.h"

// The stream (crypto/random.h) of a text's draws.
#define CR_GENERATE_STREAM "generate"

struct cr_writer {
    size_t most;                            // tokens to write at most
    double temperature;                     // 0: always the likeliest
    uint64_t seed;                          // of the draws at other temperatures
    enum cr_status (*wrote)(void *context); // after each token; NULL: nobody asks
    void *context;
};

// Appends to `ids`, which are the prompt, one at least. *ended: an end token came (session->ends), which is
// not appended. With `most` they must fit cr_session_context.
enum cr_status cr_session_write(const struct cr_session *session, const struct cr_writer *writer,
                                struct cr_ids *ids, bool *ended);

// Lets the model answer each row of a file, with `most` tokens or as many as fit the context, and adds each
// answer to `score`: one for each stretch of labels, whose prompt is all before it, as the row has it. A row
// that begins with labels is CR_INVALID: there is nothing to answer. Options as with cr_session_evaluate;
// max_length at most cr_session_context.
enum cr_status cr_session_answer(const struct cr_session *session, const char *data_path,
                                 const struct cr_dataset_options *options, size_t most,
                                 struct cr_score *score);

#endif
