// A model opened for use: with its tokenizer and, where wanted, an adapter. What `carrel eval` and
// `carrel generate` stand on.
#ifndef CARREL_TUNING_SESSION_H
#define CARREL_TUNING_SESSION_H

#include "text/dataset.h"
#include "tuning/structure.h"
#include "tuning/trainer.h"

// How the settings want examples made; strings stay the settings'. append_eos is left to the caller.
struct cr_dataset_options cr_data_options(const struct cr_data_config *config);

struct cr_asked;

// Zero-initialise it; release with cr_session_release (usable with CR_CLEANUP).
struct cr_session {
    struct cr_model *model;
    struct cr_tokenizer *tokenizer;
    struct cr_structure *adapter; // NULL without one
    struct cr_ids ends;           // see tuning/end_tokens.h
    struct cr_asked *asked;       // who has the rest of a split model (tuning/asked.h); NULL: it is all here
};

// `adapter`: a directory of tuning/adapter.h, or NULL. `dtype`: enum cr_compute_dtype; `in_8bit`: the base is
// CR_MODEL_IN_8BIT. `sink` may be NULL. `compute` must outlive the session.
enum cr_status cr_session_open(const char *model, const char *adapter, int dtype, bool in_8bit,
                               struct cr_compute *compute, const struct cr_event_sink *sink,
                               struct cr_session *out);

// The front of a split model, as its settings say, of that directory; who has the rest is borrowed.
enum cr_status cr_session_open_front(const char *model, const struct cr_tuning_config *config,
                                     struct cr_compute *compute, const struct cr_event_sink *sink,
                                     struct cr_asked *asked, struct cr_session *out);
void cr_session_release(struct cr_session *session);

// What walks through the model are given; NULL without an adapter.
const struct cr_tuned *cr_session_tuned(const struct cr_session *session);

// The most tokens that a text may have: the model's context, but for the adapter's virtual tokens; or what
// who has the rest allows, where that is less.
size_t cr_session_context(const struct cr_session *session);

// Rows of an evaluation's walk: so many, or the longest example's where that has more.
enum { CR_SESSION_ROWS = 1024 };

// Adds the loss and accuracy over a file (text/dataset.h says which forms) to `tally`. Examples are as the
// options say; max_length over cr_session_context is CR_INVALID. `sink` (may be NULL) gets cr_warn_of_rows.
enum cr_status cr_session_evaluate(const struct cr_session *session, const char *data_path,
                                   const struct cr_dataset_options *options, const struct cr_event_sink *sink,
                                   struct cr_tally *tally);

// An event "train.warning" where rows of `what` ("training data") have no labelled token, and one where some
// could not be read.
void cr_warn_of_rows(const struct cr_dataset *data, const char *what, const struct cr_event_sink *sink);

// The type to compute in: what was asked for (enum cr_compute_dtype), or F32 where the processor has no bf16
// products, and then with an event "train.warning".
enum cr_dtype cr_activation_type(const struct cr_compute *compute, int wanted,
                                 const struct cr_event_sink *sink);

#endif
