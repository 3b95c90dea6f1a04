// A model opened for use, with its tokenizer and, if wanted, an adapter: the basis of `carrel eval` and
// `carrel generate`.
#ifndef CARREL_TUNING_SESSION_H
#define CARREL_TUNING_SESSION_H

#include "text/dataset.h"
#include "tuning/structure.h"
#include "tuning/trainer.h"

// The dataset options that these settings ask for; strings are borrowed. The caller sets append_eos.
struct cr_dataset_options cr_data_options(const struct cr_data_config *config);

struct cr_asked;

// Zero-initialise it; release with cr_session_release (usable with CR_CLEANUP).
struct cr_session {
    struct cr_model *model;
    struct cr_tokenizer *tokenizer;
    struct cr_structure *adapter; // NULL without one
    struct cr_ids ends;           // see tuning/end_tokens.h
    struct cr_asked *asked;       // holds the rest of a split model (tuning/asked.h); NULL: all is here
};

// `adapter`: a directory as in tuning/adapter.h, or NULL. `dtype`: enum cr_compute_dtype; `in_8bit`: opens
// the base as CR_MODEL_IN_8BIT. `sink` may be NULL. `compute` must outlive the session.
enum cr_status cr_session_open(const char *model, const char *adapter, int dtype, bool in_8bit,
                               struct cr_compute *compute, const struct cr_event_sink *sink,
                               struct cr_session *out);

// Opens the front of a split model, as its settings say, from that directory. `asked`, which holds the rest,
// is borrowed.
enum cr_status cr_session_open_front(const char *model, const struct cr_tuning_config *config,
                                     struct cr_compute *compute, const struct cr_event_sink *sink,
                                     struct cr_asked *asked, struct cr_session *out);
void cr_session_release(struct cr_session *session);

// What is passed to forward passes as `tuned`; NULL without an adapter.
const struct cr_tuned *cr_session_tuned(const struct cr_session *session);

// The most tokens that a text may have: the model's context minus the adapter's virtual tokens, or what
// `asked` allows, if that is less.
size_t cr_session_context(const struct cr_session *session);

// Rows of an evaluation's pass: this many, or those of the longest example if it has more.
enum { CR_SESSION_ROWS = 1024 };

// Adds loss and accuracy over a file (text/dataset.h lists the formats) to `tally`. `options` say how
// examples are made; a max_length over cr_session_context returns CR_INVALID. `sink` (may be NULL) gets the
// events of cr_warn_of_rows.
enum cr_status cr_session_evaluate(const struct cr_session *session, const char *data_path,
                                   const struct cr_dataset_options *options, const struct cr_event_sink *sink,
                                   struct cr_tally *tally);

// Emits an event "train.warning" if rows of `what` ("training data") have no labelled token, and another if
// some could not be read.
void cr_warn_of_rows(const struct cr_dataset *data, const char *what, const struct cr_event_sink *sink);

// The type to compute in: the one that was asked for (enum cr_compute_dtype), or F32, with an event
// "train.warning", if the processor has no BF16 products.
enum cr_dtype cr_activation_type(const struct cr_compute *compute, int wanted,
                                 const struct cr_event_sink *sink);

#endif
