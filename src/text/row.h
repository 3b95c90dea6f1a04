// One row of a dataset file: what a line or an object says.
#ifndef CARREL_TEXT_ROW_H
#define CARREL_TEXT_ROW_H

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
    // left out. Or {"prompt", "completion"}, lists of messages. The assistant's are learned, but for those of
    // a prompt and those that say otherwise ("weight": 0; "train" or "training": false).
    CR_ROW_CHAT,
    CR_ROW_COMPLETION, // {"prompt", "completion"}, strings
    CR_ROW_LABELLED,   // of a .tsv; a first line whose label is "label" is a heading
};

// Where a row lies.
struct cr_row_item {
    struct cr_slice text; // in the file's mapping
    struct cr_json_place place;
    size_t number; // of rows before it
};

// What it takes to make rows of items. Each thread that does so has its own; all zeros but for `form`.
struct cr_row_parser {
    struct cr_row_form {
        const char *path; // the caller's; must outlive this
        bool array, lines_of_tabs;
        enum cr_row_kind kind; // of the rows before
    } form;
    struct cr_json *json;
    struct cr_chat_message *messages; // of the row given last
    size_t message_count, message_capacity;
    struct cr_buffer joined; // instruction and input
};

// One row; the slices live until the next.
struct cr_row {
    enum cr_row_kind kind;
    struct cr_slice text;               // TEXT, the prompt of COMPLETION, or the sentence of LABELLED
    struct cr_slice label;              // LABELLED
    struct cr_slice instruction, input; // ALPACA
    struct cr_slice output;             // ALPACA, or the completion of COMPLETION
    // CHAT, and of ALPACA and COMPLETION the same as messages: the user's is the instruction and, on a line
    // of its own, the input, or the prompt.
    const struct cr_chat_message *messages;
    size_t message_count;
};

// By the keys of an object; CR_ROW_UNKNOWN where it is no row.
enum cr_row_kind cr_row_kind_of(const struct cr_json *row);

// The row of an item, and its kind for those after it. A row of another kind than the first, with a field
// missing or of a wrong type, or one that wants something else learned than is (tools, pictures, weights of
// messages), is CR_INVALID and named.
enum cr_status cr_row_parse(struct cr_row_parser *parser, const struct cr_row_item *item, struct cr_row *row);
void cr_row_parser_release(struct cr_row_parser *parser);

// Puts "path:line: " before the sentence of a failure that has to do with an item; returns `status`.
enum cr_status cr_row_fail_at(const struct cr_row_form *form, const struct cr_row_item *item,
                              enum cr_status status);

// What follows the first TAB of a line; data is NULL where there is none.
struct cr_slice cr_row_behind_tab(struct cr_slice line);

#endif
