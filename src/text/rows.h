// The rows of a dataset file, one at a time: JSONL, or one JSON array of objects (told by the first character
// that is no space).
#ifndef CARREL_TEXT_ROWS_H
#define CARREL_TEXT_ROWS_H

#include "format/json.h"

struct cr_row_reader {
    struct cr_slice file; // a mapping
    size_t at, line;      // line is that of `at`, from 1
    size_t count;         // rows given so far
    bool array, ended;
    const char *path;       // the caller's; must outlive this
    struct cr_buffer where; // "path:line" of the row given last, to begin error messages with
    enum cr_row_kind {
        CR_ROW_UNKNOWN, // before the first row
        CR_ROW_TEXT,    // {"text"}
        // {"instruction", "input" (may be absent), "output"}; a "text" beside them is not read
        CR_ROW_ALPACA,
    } kind;
    struct cr_json *json;
};

// One row; the slices live until the next. Of a TEXT row only `text` is set, of an ALPACA row the others.
struct cr_row {
    enum cr_row_kind kind;
    struct cr_slice text, instruction, input, output;
};

// An empty file is CR_INVALID.
enum cr_status cr_row_reader_open(const char *path, struct cr_row_reader *out);
void cr_row_reader_close(struct cr_row_reader *rows); // usable with CR_CLEANUP

// The next row; *found is false at the end. A row of another kind than the first, with a field missing or of
// a wrong type, is CR_INVALID and named.
enum cr_status cr_row_reader_next(struct cr_row_reader *rows, bool *found, struct cr_row *row);

#endif
