// Examples for training and evaluation: text turned into tokens with labels.
//
// Files: JSONL, or one JSON array, of objects. A row is {"text": ...} or Alpaca {"instruction", "input",
// "output"}; the kind is told from the first row and every row must be of it.
#ifndef CARREL_TEXT_DATASET_H
#define CARREL_TEXT_DATASET_H

#include "text/tokenizer.h"

enum { CR_LABEL_IGNORE = -100 };

struct cr_dataset_options {
    size_t max_length;    // tokens kept of an example, BOS and EOS included
    bool train_on_prompt; // false: labels of an Alpaca prompt are ignored
    bool append_eos; // after text rows; an Alpaca answer always ends with EOS, where the tokenizer has one
    size_t limit;    // rows read at most; 0: all
};

struct cr_example {
    const uint32_t *tokens; // [count]
    // [count], shifted already: labels[i] is the token that place i should predict, or CR_LABEL_IGNORE.
    const int32_t *labels;
    size_t count;
    size_t labelled; // places whose label is not ignored
};

struct cr_dataset;

// Errors name file and line. An example without a labelled place after truncation is counted in `skipped`, as
// is an empty one; a file in which none remains is CR_INVALID.
enum cr_status cr_dataset_open(const char *path, const struct cr_tokenizer *tokenizer,
                               const struct cr_dataset_options *options, struct cr_dataset **out);
void cr_dataset_free(struct cr_dataset *dataset); // NULL is allowed
size_t cr_dataset_count(const struct cr_dataset *dataset);
size_t cr_dataset_skipped(const struct cr_dataset *dataset);
struct cr_example cr_dataset_at(const struct cr_dataset *dataset, size_t i);

// Alpaca's published prompt, with or without input; ends where the answer begins.
enum cr_status cr_alpaca_prompt(struct cr_slice instruction, struct cr_slice input, struct cr_buffer *out);

#endif
