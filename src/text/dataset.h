// Examples for training and evaluation: text turned into tokens with labels.
//
// Files and rows are those of text/rows.h; the kind is told from the first row and every row must be of it.
// What is a label: every token of a text row; of an Alpaca row the answer, and EOS; of messages what the
// assistant says, with the token that ends its turn (text/chat.h); of a row with a label the label word.
#ifndef CARREL_TEXT_DATASET_H
#define CARREL_TEXT_DATASET_H

#include "base/event.h"
#include "base/thread.h"
#include "text/chat.h"

enum { CR_LABEL_IGNORE = -100 };
#define CR_LABEL_PROMPT "{text} Label:" // unless another is given

struct cr_dataset_options {
    size_t max_length;    // tokens kept of an example, BOS and EOS included
    bool train_on_prompt; // true: every token is a label
    bool append_eos; // after text rows; an Alpaca answer always ends with EOS, where the tokenizer has one
    size_t limit;    // rows read at most; 0: all
    size_t enough;   // examples after which no more rows are read; 0: all
    enum cr_chat_template chat_template;
    const char *const *label_words; // [label_count] "WORD", for the label that is its place, or "LABEL=WORD"
    size_t label_count;
    const char *label_prompt; // with {text} where the sentence goes
    // Of a row with a label, one example with each label word in turn; else with the right one. A word whose
    // tokens begin those of another is CR_UNSUPPORTED then.
    bool all_choices;
    size_t vocabulary;                // the model's: a token beyond it is CR_UNSUPPORTED; 0: any is right
    size_t max_bad_rows;              // rows that cannot be read and are passed over; one more is an error
    const struct cr_event_sink *sink; // "train.reading" every second; NULL: nobody waits
    struct cr_pool *pool;             // whose threads read and encode rows; NULL: the caller does
};

struct cr_example {
    const uint32_t *tokens; // [count]
    // [count], shifted already: labels[i] is the token that place i should predict, or CR_LABEL_IGNORE.
    const int32_t *labels;
    size_t count;
    size_t labelled; // places whose label is not ignored
    size_t number;   // its place in its dataset
    bool right;      // false: a label word that is not the row's
};

struct cr_dataset;

// Errors name file and line. An example without a labelled place after truncation is counted in `skipped`, as
// is an empty one; a file in which none remains is CR_INVALID. CR_CANCELLED: a stop was asked for
// (base/signals.h).
enum cr_status cr_dataset_open(const char *path, const struct cr_tokenizer *tokenizer,
                               const struct cr_dataset_options *options, struct cr_dataset **out);

// Examples whose labels alone are known, because another machine has their tokens, which are zeros here. An
// empty one; cr_dataset_add appends an example of `count` places, at least 1.
enum cr_status cr_dataset_new(struct cr_dataset **out);
enum cr_status cr_dataset_add(struct cr_dataset *dataset, const int32_t *labels, size_t count);

void cr_dataset_free(struct cr_dataset *dataset);     // NULL is allowed
void cr_dataset_release(struct cr_dataset **dataset); // frees *dataset and sets it to NULL; for CR_CLEANUP
size_t cr_dataset_count(const struct cr_dataset *dataset);
size_t cr_dataset_skipped(const struct cr_dataset *dataset);
size_t cr_dataset_cut(const struct cr_dataset *dataset); // examples that had more than max_length tokens
// Examples that are choices of one row: with all_choices the number of label words, and 1 otherwise. Example
// i is choice i % choices of its row.
size_t cr_dataset_choices(const struct cr_dataset *dataset);
bool cr_dataset_chats(const struct cr_dataset *dataset);    // its rows are conversations
size_t cr_dataset_memory(const struct cr_dataset *dataset); // bytes
size_t cr_dataset_bad_rows(const struct cr_dataset *dataset);
const char *
cr_dataset_first_bad(const struct cr_dataset *dataset); // what is wrong with the first few of these
struct cr_example cr_dataset_at(const struct cr_dataset *dataset, size_t i);

#endif
