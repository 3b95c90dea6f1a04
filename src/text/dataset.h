// Examples for training and evaluation: tokens with labels.
//
// For files and rows see text/rows.h. The first row decides on the kind of all rows. Labels are: every token
// of a text row; the answer and EOS of an Alpaca row; of messages, the assistant's content with the token
// that ends its turn (text/chat.h); the label word of a row with a label.
#ifndef CARREL_TEXT_DATASET_H
#define CARREL_TEXT_DATASET_H

#include "base/event.h"
#include "base/thread.h"
#include "text/chat.h"

enum { CR_LABEL_IGNORE = -100 };
#define CR_LABEL_PROMPT "{text} Label:" // the default of label_prompt

struct cr_dataset_options {
    size_t max_length;    // longer examples are cut to this many tokens, BOS and EOS included
    bool train_on_prompt; // true: every token is a label
    bool append_eos;      // to text rows; Alpaca answers always end with EOS, if the tokenizer has one
    size_t limit;         // the most rows to read; 0: all
    size_t enough;        // reading stops after this many examples; 0: never
    enum cr_chat_template chat_template;
    const char *const *label_words; // [label_count] "LABEL=WORD", or "WORD", whose label is its index
    size_t label_count;
    const char *label_prompt; // with {text} in the sentence's place
    // If true, a row with a label gives an example for each label word; a word whose tokens are a prefix of
    // another's is then CR_UNSUPPORTED. If false, a row gives one example, with the right word.
    bool all_choices;
    size_t vocabulary;                // the model's; a token id beyond it is CR_UNSUPPORTED; 0: no check
    size_t max_bad_rows;              // this many unreadable rows are skipped; one more is an error
    const struct cr_event_sink *sink; // receives "train.reading" every second; or NULL
    struct cr_pool *pool;             // its threads read and encode rows; NULL: the caller's thread
};

struct cr_example {
    const uint32_t *tokens; // [count]
    // [count], already shifted: labels[i] is the token to predict at place i, or CR_LABEL_IGNORE.
    const int32_t *labels;
    size_t count;
    size_t labelled; // places whose label is not ignored
    size_t number;   // its index in its dataset
    bool right;      // false: a label word that is not the row's
};

struct cr_dataset;

// Error messages name file and line. Empty examples, and those without a label after truncation, are dropped
// and counted (cr_dataset_skipped); if no example is left, CR_INVALID. CR_CANCELLED: the process was asked to
// stop (base/signals.h).
enum cr_status cr_dataset_open(const char *path, const struct cr_tokenizer *tokenizer,
                               const struct cr_dataset_options *options, struct cr_dataset **out);

// An empty dataset for examples of which only the labels are known, because another machine has the tokens,
// which are zeros here. cr_dataset_add appends an example of `count` places, at least 1.
enum cr_status cr_dataset_new(struct cr_dataset **out);
enum cr_status cr_dataset_add(struct cr_dataset *dataset, const int32_t *labels, size_t count);

void cr_dataset_free(struct cr_dataset *dataset);     // NULL is allowed
void cr_dataset_release(struct cr_dataset **dataset); // frees *dataset and sets it to NULL; for CR_CLEANUP
size_t cr_dataset_count(const struct cr_dataset *dataset);
size_t cr_dataset_skipped(const struct cr_dataset *dataset);
size_t cr_dataset_cut(const struct cr_dataset *dataset); // number of examples cut to max_length
// How many consecutive examples are choices of one row: the number of label words with all_choices, else 1.
// Example i is choice i % choices of its row.
size_t cr_dataset_choices(const struct cr_dataset *dataset);
bool cr_dataset_chats(const struct cr_dataset *dataset);    // whether its rows are conversations
size_t cr_dataset_memory(const struct cr_dataset *dataset); // bytes
size_t cr_dataset_bad_rows(const struct cr_dataset *dataset);
const char *
cr_dataset_first_bad(const struct cr_dataset *dataset); // what is wrong with the first few of them
struct cr_example cr_dataset_at(const struct cr_dataset *dataset, size_t i);

#endif
