// The rows of a dataset file, one at a time: JSONL, one JSON array of objects (told by the first character
// that is no space), or lines of "sentence TAB label" (told by the name: .tsv).
#ifndef CARREL_TEXT_ROWS_H
#define CARREL_TEXT_ROWS_H

#include "text/row.h"

struct cr_row_reader {
    struct cr_slice file; // a mapping
    size_t at;
    struct cr_json_place place; // of `at`; within a line that was taken whole, where that begins
    size_t count;               // rows gone by so far
    bool ended;
    bool broken; // where the row taken last ends is not known, so none can follow unless it can be read
    struct cr_row_parser parser; // for cr_row_reader_next
};

// CR_INVALID: an empty file, or one that is known as something else (gzip, Parquet, UTF-16, .csv).
enum cr_status cr_row_reader_open(const char *path, struct cr_row_reader *out);
void cr_row_reader_close(struct cr_row_reader *rows); // usable with CR_CLEANUP

// Where the next row lies; *found is false at the end.
enum cr_status cr_row_reader_take(struct cr_row_reader *rows, bool *found, struct cr_row_item *item);

// Takes and parses the next row. Unless `broken`, the call after a failure gives the row behind it.
enum cr_status cr_row_reader_next(struct cr_row_reader *rows, bool *found, struct cr_row *row);

#endif
