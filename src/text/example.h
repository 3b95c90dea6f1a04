// Turns a row into tokens, and marks those that are labels.
#ifndef CARREL_TEXT_EXAMPLE_H
#define CARREL_TEXT_EXAMPLE_H

#include "text/dataset.h"
#include "text/row.h"

// Zero-initialise; release with cr_encoded_release (usable with CR_CLEANUP).
struct cr_encoded {
    struct cr_ids ids;
    struct cr_ids labelled; // for each id, 1 if it is to be predicted, else 0
};
void cr_encoded_release(struct cr_encoded *encoded);

// Encodes the row and replaces the content of `out`. `choice`: the label word to use for a LABELLED row. An
// empty text, Alpaca answer or completion gives no ids. CR_INVALID, with a message without file and line, if
// the row cannot be encoded.
enum cr_status cr_row_encode(const struct cr_row *row, size_t choice, const struct cr_tokenizer *tokenizer,
                             const struct cr_dataset_options *options, struct cr_encoded *out);

// Appends Alpaca's published prompt, with or without input, up to where the answer begins.
enum cr_status cr_alpaca_prompt(struct cr_slice instruction, struct cr_slice input, struct cr_buffer *out);

// Checks that the options' label words identify labels: no word is empty, no label has two words, no two
// labels share one, and the prompt has a place for the sentence. CR_INVALID otherwise.
enum cr_status cr_label_words_check(const struct cr_dataset_options *options);

// The index of a LABELLED row's label word. CR_INVALID if it has none, or if the options have no label words.
enum cr_status cr_row_choice(const struct cr_row *row, const struct cr_dataset_options *options, size_t *out);

#endif
