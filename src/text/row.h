// Parses one row of a dataset file: a line or an object.
#ifndef CARREL_TEXT_ROW_H
#define CARREL_TEXT_ROW_H

#include "format/json.h"
#include "text/chat.h"

enum cr_row_kind {
    CR_ROW_UNKNOWN, // before the first row
    CR_ROW_TEXT,    // {"text"}
    // {"instruction", "input" (optional), "output"}, or {"question", "answer"}, with an optional "system" and
    // "history" (a list of [instruction, output]). A "text" beside them is ignored.
    CR_ROW_ALPACA,
    // {"messages"} or {"conversations"} (ShareGPT): a list of {"role", "content"} or {"from", "value"}; a
    // "system" may stand beside it. An assistant's message before the first user's of {"conversations"} is
    // left out. Or {"prompt", "completion"}, lists of messages. The assistant's are learned, but for those of
    // a prompt and those that say otherwise ("weight": 0; "train" or "training": false).
    CR_ROW_CHAT,
    CR_ROW_COMPLETION, // {"prompt", "completion"}, strings
    CR_ROW_LABELLED,   // a line of a .tsv; a first line with the label "label" is a heading
};

// Where a row is in its file.
struct cr_row_item {
    struct cr_slice text; // borrowed from the file's mapping
    struct cr_json_place place;
    size_t number; // number of rows before it
};

// State for parsing items into rows, one for each thread. Zero-initialise it except for `form`.
struct cr_row_parser {
    struct cr_row_form {
        const char *path; // borrowed from the caller
        bool array, lines_of_tabs;
        enum cr_row_kind kind; // of previous rows
    } form;
    struct cr_json *json;
    struct cr_chat_message *messages; // of the last row
    size_t message_count, message_capacity;
    struct cr_buffer joined; // instruction and input, joined
};

// One row; its slices are valid until the next one is parsed.
struct cr_row {
    enum cr_row_kind kind;
    struct cr_slice text;               // TEXT, the prompt of COMPLETION, or the sentence of LABELLED
    struct cr_slice label;              // LABELLED
    struct cr_slice instruction, input; // ALPACA
    struct cr_slice output;             // ALPACA, or the completion of COMPLETION
    // For CHAT, and for ALPACA and COMPLETION in the form of messages: the user's message is the instruction
    // followed on a new line by the input, or the prompt.
    const struct cr_chat_message *messages;
    size_t message_count;
};

// The kind of row by an object's keys; CR_ROW_UNKNOWN if it is not a row.
enum cr_row_kind cr_row_kind_of(const struct cr_json *row);

// Parses an item, and sets the parser's kind for later ones. CR_INVALID, with what is wrong: a row of another
// kind than the first one, a field that is missing or of a wrong type, and a row that asks for what is not
// supported (tools, pictures, weights of messages).
enum cr_status cr_row_parse(struct cr_row_parser *parser, const struct cr_row_item *item, struct cr_row *row);
void cr_row_parser_release(struct cr_row_parser *parser);

// Puts "path:line: " before the message of a failure that concerns an item; returns `status`.
enum cr_status cr_row_fail_at(const struct cr_row_form *form, const struct cr_row_item *item,
                              enum cr_status status);

// The part of a line after its first TAB; data is NULL if there is no TAB.
struct cr_slice cr_row_behind_tab(struct cr_slice line);

#endif
