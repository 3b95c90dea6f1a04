// The rows of a dataset file, one at a time: JSONL, one JSON array of objects (told by the first character
// that is no space), or lines of "sentence TAB label" (told by the name: .tsv).
#ifndef CARREL_TEXT_ROWS_H
#define CARREL_TEXT_ROWS_H

#include "format/json.h"
#include "text/chat.h"

enum cr_row_kind {
    CR_ROW_UNKNOWN, // before the first row
    CR_ROW_TEXT,    // {"text"}
    // {"instruction", "input" (may be absent), "output"}, or {"question", "answer"}; "system" and "history"
    // (a list of [instruction, output]) may stand beside them. A "text" beside them is not read.
    CR_ROW_ALPACA,
    // {"messages"} or {"conversations"} (ShareGPT): a list of {"role", "content"} or {"from", "value"}; a
    // "system" may stand beside it. An assistant's message before the first user's of {"conversations"} is
    // left out.
    CR_ROW_CHAT,
    CR_ROW_LABELLED, // of a .tsv; a first line whose label is "label" is a heading
};

struct cr_row_reader {
    struct cr_slice file; // a mapping
    size_t at;
    struct cr_json_place place; // of `at`; within a line that was taken whole, where that begins
    size_t count;               // rows gone by so far
    bool array, lines_of_tabs, ended;
    bool broken;            // after a failure: where the row ends is not known, so none can follow
    const char *path;       // the caller's; must outlive this
    struct cr_buffer where; // "path:line" of the row given last, to begin error messages with
    enum cr_row_kind kind;
    struct cr_json *json;
    struct cr_chat_message *messages; // of the row given last
    size_t message_count, message_capacity;
    struct cr_buffer joined; // instruction and input
};

// One row; the slices live until the next.
struct cr_row {
    enum cr_row_kind kind;
    struct cr_slice text;                       // TEXT, or the sentence of LABELLED
    struct cr_slice label;                      // LABELLED
    struct cr_slice instruction, input, output; // ALPACA
    // CHAT, and of ALPACA the same as messages: the user's is the instruction and, on a line of its own, the
    // input.
    const struct cr_chat_message *messages;
    size_t message_count;
};

// By the keys of an object; CR_ROW_UNKNOWN where it is no row.
enum cr_row_kind cr_row_kind_of(const struct cr_json *row);

// An empty file is CR_INVALID.
enum cr_status cr_row_reader_open(const char *path, struct cr_row_reader *out);
void cr_row_reader_close(struct cr_row_reader *rows); // usable with CR_CLEANUP

// The next row; *found is false at the end. A row of another kind than the first, with a field missing or of
// a wrong type, or one that wants something else learned than is (tools, weights of messages), is CR_INVALID
// and named. Unless `broken`, the call after that gives the row behind it.
enum cr_status cr_row_reader_next(struct cr_row_reader *rows, bool *found, struct cr_row *row);

#endif
