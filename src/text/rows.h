// Reads the rows of a dataset file one at a time: JSONL, one JSON array of objects (if the first character
// other than white space is "["), or lines of "sentence TAB label" (if the name ends in .tsv).
#ifndef CARREL_TEXT_ROWS_H
#define CARREL_TEXT_ROWS_H

#include "text/row.h"

struct cr_row_reader {
    struct cr_slice file; // the mapped file
    size_t at;
    struct cr_json_place place; // of `at`, or of the start of the line that contains it
    size_t count;               // rows taken so far
    bool ended;
    bool broken;                 // if the last row cannot be read, its end is unknown, and no row can follow
    struct cr_row_parser parser; // for cr_row_reader_next
};

// CR_INVALID: an empty file, or one in a known other format (gzip, Parquet, UTF-16, .csv).
enum cr_status cr_row_reader_open(const char *path, struct cr_row_reader *out);
void cr_row_reader_close(struct cr_row_reader *rows); // usable with CR_CLEANUP

// Finds the next row, without parsing it; *found is false at the end.
enum cr_status cr_row_reader_take(struct cr_row_reader *rows, bool *found, struct cr_row_item *item);

// Takes and parses the next row. After a failure, the next call continues with the following row, unless
// `broken`.
enum cr_status cr_row_reader_next(struct cr_row_reader *rows, bool *found, struct cr_row *row);

#endif
