// Rows of a file, made examples some at a time by the threads of a pool. What comes of them and in which
// order does not depend on the threads.
#ifndef CARREL_TEXT_ROW_BLOCK_H
#define CARREL_TEXT_ROW_BLOCK_H

#include "text/example.h"
#include "text/rows.h"

// What one row came to.
struct cr_encoded_row {
    struct cr_row_item item;
    enum cr_status status; // of reading and encoding it
    struct cr_buffer why;  // the sentence of a failure
    bool broken;           // what follows it in the file can be found only if it could be read
    enum cr_row_kind kind; // CR_ROW_UNKNOWN: it could not be read
    size_t right;          // which of `encoded` is its own
    // [cr_row_choices]: an example of it, with all_choices one for each label word.
    struct cr_encoded *encoded;
};

// Examples that a LABELLED row gives. (Another one gives one.)
size_t cr_row_choices(const struct cr_dataset_options *options);

struct cr_row_block;
enum cr_status cr_row_block_new(struct cr_row_reader *rows, const struct cr_tokenizer *tokenizer,
                                const struct cr_dataset_options *options, struct cr_row_block **out);
void cr_row_block_release(struct cr_row_block **block); // for CR_CLEANUP

// The next rows, `most` of them at most, which live until the next call; *count is 0 at the end of the file.
// Failures of rows are theirs; where the file itself goes on in a wrong way, that is the last one's. None
// follows a row that is broken.
enum cr_status cr_row_block_next(struct cr_row_block *block, size_t most, const struct cr_encoded_row **out,
                                 size_t *count);

#endif
