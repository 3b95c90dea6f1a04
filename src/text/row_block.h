// Reads rows of a file and encodes them as examples, several at a time, on the threads of a pool. Results and
// their order do not depend on the threads.
#ifndef CARREL_TEXT_ROW_BLOCK_H
#define CARREL_TEXT_ROW_BLOCK_H

#include "text/example.h"
#include "text/rows.h"

// One row and its examples.
struct cr_encoded_row {
    struct cr_row_item item;
    enum cr_status status; // the result of reading and encoding it
    struct cr_buffer why;  // the failure's message
    bool broken;           // since it cannot be read, the rows after it cannot be found
    enum cr_row_kind kind; // CR_ROW_UNKNOWN if it could not be read
    size_t right;          // index of the example with its own label word
    // [cr_row_choices]: its example; with all_choices one for each label word.
    struct cr_encoded *encoded;
};

// The number of examples of a LABELLED row. (Rows of other kinds give one.)
size_t cr_row_choices(const struct cr_dataset_options *options);

struct cr_row_block;
enum cr_status cr_row_block_new(struct cr_row_reader *rows, const struct cr_tokenizer *tokenizer,
                                const struct cr_dataset_options *options, struct cr_row_block **out);
void cr_row_block_release(struct cr_row_block **block); // for CR_CLEANUP

// Reads and encodes at most `most` further rows; *out is valid until the next call; *count is 0 at the end of
// the file. A failure of a row is in its status; a failure of the file itself is in that of the last row. No
// row follows a broken one.
enum cr_status cr_row_block_next(struct cr_row_block *block, size_t most, const struct cr_encoded_row **out,
                                 size_t *count);

#endif
