// A row as tokens, and which of them are labels.
#ifndef CARREL_TEXT_EXAMPLE_H
#define CARREL_TEXT_EXAMPLE_H

#include "text/dataset.h"
#include "text/row.h"

// Zero-initialise; release with cr_encoded_release (usable with CR_CLEANUP).
struct cr_encoded {
    struct cr_ids ids;
    struct cr_ids labelled; // of each id: 1 where it is to be predicted, else 0
};
void cr_encoded_release(struct cr_encoded *encoded);

// Replaces what `out` holds. `choice`: of a LABELLED row, which of the label words stands there. An empty
// text, Alpaca answer or completion gives no id. A row that cannot be encoded is CR_INVALID, without file and
// line.
enum cr_status cr_row_encode(const struct cr_row *row, size_t choice, const struct cr_tokenizer *tokenizer,
                             const struct cr_dataset_options *options, struct cr_encoded *out);

// Alpaca's published prompt, with or without input; ends where the answer begins.
enum cr_status cr_alpaca_prompt(struct cr_slice instruction, struct cr_slice input, struct cr_buffer *out);

// Whether labels can be told by the options' words: none is empty, no label has two, no two labels have the
// same, and the prompt has a place for the sentence. CR_INVALID otherwise.
enum cr_status cr_label_words_check(const struct cr_dataset_options *options);

// Which label word a LABELLED row has. CR_INVALID: none, or the options have no words.
enum cr_status cr_row_choice(const struct cr_row *row, const struct cr_dataset_options *options, size_t *out);

#endif
