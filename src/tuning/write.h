// Generates text with a session's model: token after token after a prompt, and answers to a file's rows,
// which are compared with the rows' own.
#ifndef CARREL_TUNING_WRITE_H
#define CARREL_TUNING_WRITE_H

#include "text/score.h"
#include "tuning/session.h"

// The random stream (crypto/random.h) for a text's draws.
#define CR_GENERATE_STREAM "generate"

struct cr_writer {
    size_t most;                            // tokens to write, at most
    double temperature;                     // 0: always the likeliest token
    uint64_t seed;                          // for the draws at other temperatures
    enum cr_status (*wrote)(void *context); // called after each token; may be NULL
    void *context;
};

// Appends to `ids`, which hold the prompt, at least one token. *ended: an end token came (session->ends); it
// is not appended. Prompt and `most` tokens together must fit cr_session_context.
enum cr_status cr_session_write(const struct cr_session *session, const struct cr_writer *writer,
                                struct cr_ids *ids, bool *ended);

// Lets the model answer each row of a file, with up to `most` tokens or as many as fit the context, and adds
// each answer to `score`: one for each stretch of labels, whose prompt is everything before it in the row. A
// row that begins with labels returns CR_INVALID, because there is no prompt. Options as for
// cr_session_evaluate; max_length is at most cr_session_context.
enum cr_status cr_session_answer(const struct cr_session *session, const char *data_path,
                                 const struct cr_dataset_options *options, size_t most,
                                 struct cr_score *score);

#endif
