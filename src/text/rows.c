#include "text/rows.h"

#include "base/file.h"
#include "base/parse.h"

#include <stdlib.h>
#include <string.h>

static int peek(const struct cr_row_reader *rows)
{
    return rows->at < rows->file.size ? rows->file.data[rows->at] : -1;
}

static void step(struct cr_row_reader *rows)
{
    unsigned char c = rows->file.data[rows->at++];
    if (c == '\n')
        rows->place = (struct cr_json_place){rows->place.line + 1, 1};
    else if ((c & 0xc0) != 0x80)
        rows->place.column++;
}

static void skip_space(struct cr_row_reader *rows)
{
    while (peek(rows) == ' ' || peek(rows) == '\t' || peek(rows) == '\n' || peek(rows) == '\r') step(rows);
}

enum cr_status cr_row_reader_open(const char *path, struct cr_row_reader *out)
{
    struct cr_row_reader rows = {.path = path, .place = {1, 1}, .lines_of_tabs = cr_ends_with(path, ".tsv")};
    CR_TRY(cr_file_map(path, &rows.file));
    if (rows.file.size >= 3 && memcmp(rows.file.data, "\xef\xbb\xbf", 3) == 0)
        rows.at = 3; // a byte order mark
    size_t start = rows.at;
    skip_space(&rows);
    if (rows.at == rows.file.size) {
        cr_file_unmap(&rows.file);
        return cr_fail(CR_INVALID, "%s: the file is empty", path);
    }
    rows.array = !rows.lines_of_tabs && peek(&rows) == '[';
    if (rows.array) step(&rows);
    if (rows.lines_of_tabs) { // a first line may begin with a TAB
        rows.at = start;
        rows.place = (struct cr_json_place){1, 1};
    }
    *out = rows;
    return CR_OK;
}

void cr_row_reader_close(struct cr_row_reader *rows)
{
    cr_file_unmap(&rows->file);
    cr_json_free(rows->json);
    cr_buffer_release(&rows->where);
    cr_buffer_release(&rows->joined);
    free(rows->messages);
    *rows = (struct cr_row_reader){0};
}

// The rest of the line at the reader's place.
static struct cr_slice take_line(struct cr_row_reader *rows)
{
    size_t start = rows->at;
    const unsigned char *end = memchr(rows->file.data + start, '\n', rows->file.size - start);
    rows->at = end ? (size_t)(end - rows->file.data) : rows->file.size;
    return (struct cr_slice){rows->file.data + start, rows->at - start};
}

// The extent of the item at the reader's place: an object or a list by its brackets, anything else up to what
// parts items. Whether it is well-formed is seen when it is parsed.
static void skip_item(struct cr_row_reader *rows)
{
    int open = peek(rows), close = open == '{' ? '}' : open == '[' ? ']' : 0;
    size_t depth = 0;
    bool in_string = false;
    for (; rows->at < rows->file.size; step(rows)) {
        int c = peek(rows);
        if (in_string) {
            if (c == '\\' && rows->at + 1 < rows->file.size) step(rows);
            if (c == '"') in_string = false;
        } else if (c == '"') {
            in_string = true;
        } else if (!close && (c == ',' || c == ']')) {
            return;
        } else if (c == open) {
            depth++;
        } else if (c == close && --depth == 0) {
            step(rows);
            return;
        }
    }
}

static enum cr_status find_item(struct cr_row_reader *rows, struct cr_slice *row, struct cr_json_place *from)
{
    rows->broken = true;
    skip_space(rows);
    if (rows->count > 0 && peek(rows) == ',') {
        step(rows);
        skip_space(rows);
    } else if (peek(rows) == ']') {
        step(rows);
        skip_space(rows);
        rows->ended = true;
        *row = (struct cr_slice){NULL, 0};
        if (rows->at == rows->file.size) return CR_OK;
        return cr_fail(CR_INVALID, "%s:%zu: there is more after the array", rows->path, rows->place.line);
    } else if (rows->count > 0) {
        return cr_fail(CR_INVALID, "%s:%zu: item %zu: \",\" or \"]\" is wanted after it", rows->path,
                       rows->place.line, rows->count);
    }
    size_t start = rows->at;
    *from = rows->place;
    skip_item(rows);
    *row = (struct cr_slice){rows->file.data + start, rows->at - start};
    if (row->size == 0)
        return cr_fail(CR_INVALID, "%s:%zu: item %zu: an object is wanted", rows->path, rows->place.line,
                       rows->count + 1);
    skip_space(rows);
    rows->broken = peek(rows) != ',' && peek(rows) != ']';
    return CR_OK;
}

static enum cr_status take_string(const struct cr_row_reader *rows, const char *key, bool may_lack,
                                  struct cr_slice *out)
{
    const struct cr_json *value = cr_json_member(rows->json, key);
    enum cr_json_kind kind = cr_json_kind(value);
    *out = (struct cr_slice){(const unsigned char *)"", 0};
    if (kind == CR_JSON_NULL && may_lack) return CR_OK;
    if (kind != CR_JSON_STRING)
        return cr_fail(CR_INVALID, "%s: \"%s\" %s", cr_buffer_text(&rows->where), key,
                       value ? "must be a string" : "is missing");
    *out = cr_json_string(value);
    return CR_OK;
}

static enum cr_status add_message(struct cr_row_reader *rows, enum cr_chat_role role, struct cr_slice content)
{
    if (rows->message_count == rows->message_capacity) {
        size_t capacity = 2 * rows->message_capacity + 8;
        CR_TRY(cr_reallocate(capacity, sizeof *rows->messages, &rows->messages));
        rows->message_capacity = capacity;
    }
    rows->messages[rows->message_count++] = (struct cr_chat_message){role, content};
    return CR_OK;
}

// A "system" beside the conversation, unless that has one of its own.
static enum cr_status add_system(struct cr_row_reader *rows, const struct cr_json *list, const char *role_key)
{
    struct cr_slice system;
    CR_TRY(take_string(rows, "system", true, &system));
    if (system.size == 0 || cr_json_is_string(cr_json_member(cr_json_at(list, 0), role_key), "system"))
        return CR_OK;
    return add_message(rows, CR_CHAT_SYSTEM, system);
}

// Whether there is anything in a member: null, "", [] and {} are as good as none, as is "[]" for a list.
static bool is_filled(const struct cr_json *value)
{
    struct cr_slice text = cr_json_string(value);
    enum cr_json_kind kind = cr_json_kind(value);
    if (kind == CR_JSON_STRING) return text.size > 0 && !cr_slice_equal(text, cr_slice_of_string("[]"));
    if (kind == CR_JSON_ARRAY || kind == CR_JSON_OBJECT) return cr_json_count(value) > 0;
    return kind != CR_JSON_NULL;
}

// A message may say itself whether it is to be learned: that must be what is done.
static enum cr_status check_learned(const struct cr_row_reader *rows, const struct cr_json *turn,
                                    size_t place, bool learned)
{
    static const char *const keys[] = {"train", "training"};
    const struct cr_json *weight = cr_json_member(turn, "weight");
    if (learned && is_filled(weight) && cr_json_number(weight, 0) != 1)
        return cr_fail(CR_INVALID,
                       "%s: message %zu: \"weight\" must be 1: all that the assistant says is learned alike",
                       cr_buffer_text(&rows->where), place);
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        const struct cr_json *train = cr_json_member(turn, keys[i]);
        if (is_filled(train) && cr_json_bool(train, !learned) != learned)
            return cr_fail(
                CR_INVALID,
                "%s: message %zu: \"%s\" must be %s: what the assistant says is learned, and nothing else",
                cr_buffer_text(&rows->where), place, keys[i], learned ? "true" : "false");
    }
    return CR_OK;
}

static enum cr_status refuse_calls(const struct cr_row_reader *rows, const struct cr_json *turn, size_t place)
{
    static const char *const keys[] = {"tool_calls", "function_call"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (is_filled(cr_json_member(turn, keys[i])))
            return cr_fail(CR_INVALID, "%s: message %zu: \"%s\": calls of tools are not learned",
                           cr_buffer_text(&rows->where), place, keys[i]);
    return CR_OK;
}

static enum cr_status add_turn(struct cr_row_reader *rows, const struct cr_json *turn, const char *role_key,
                               const char *content_key)
{
    static const struct {
        const char *name;
        enum cr_chat_role role;
    } roles[] = {{"system", CR_CHAT_SYSTEM}, {"user", CR_CHAT_USER},
                 {"human", CR_CHAT_USER},    {"assistant", CR_CHAT_ASSISTANT},
                 {"gpt", CR_CHAT_ASSISTANT}, {"chatgpt", CR_CHAT_ASSISTANT}};
    struct cr_slice role = cr_json_string(cr_json_member(turn, role_key));
    struct cr_slice content = cr_json_string(cr_json_member(turn, content_key));
    size_t place = rows->message_count + 1;
    CR_TRY(refuse_calls(rows, turn, place));
    if (!role.data || !content.data)
        return cr_fail(CR_INVALID, "%s: message %zu: \"%s\" and \"%s\" must be strings",
                       cr_buffer_text(&rows->where), place, role_key, content_key);
    for (size_t i = 0; i < sizeof roles / sizeof *roles; i++) {
        if (!cr_slice_equal(role, cr_slice_of_string(roles[i].name))) continue;
        CR_TRY(check_learned(rows, turn, place, roles[i].role == CR_CHAT_ASSISTANT));
        return add_message(rows, roles[i].role, content);
    }
    return cr_fail(CR_INVALID,
                   "%s: message %zu: \"%s\" is \"%.40s\": system, user (human) or assistant (gpt) is wanted",
                   cr_buffer_text(&rows->where), place, role_key, (const char *)role.data);
}

// Conversations that were cut out of longer ones begin with an answer to what is not there. As elsewhere, it
// is left out.
static void drop_leading_answer(struct cr_row_reader *rows)
{
    struct cr_chat_message *messages = rows->messages;
    size_t first = rows->message_count > 0 && messages[0].role == CR_CHAT_SYSTEM;
    if (first == rows->message_count || messages[first].role != CR_CHAT_ASSISTANT) return;
    rows->message_count--;
    memmove(messages + first, messages + first + 1, (rows->message_count - first) * sizeof *messages);
}

static enum cr_status read_chat(struct cr_row_reader *rows)
{
    bool messages = cr_json_member(rows->json, "messages") != NULL;
    const char *key = messages ? "messages" : "conversations";
    const struct cr_json *list = cr_json_member(rows->json, key);
    if (!list)
        return cr_fail(CR_INVALID, "%s: \"messages\" (or \"conversations\") is missing",
                       cr_buffer_text(&rows->where));
    if (cr_json_kind(list) != CR_JSON_ARRAY || cr_json_count(list) == 0)
        return cr_fail(CR_INVALID, "%s: \"%s\" %s", cr_buffer_text(&rows->where), key,
                       cr_json_kind(list) == CR_JSON_ARRAY ? "holds no message"
                                                           : "must be a list of messages");
    bool from = cr_json_member(cr_json_at(list, 0), "from") != NULL;
    CR_TRY(add_system(rows, list, from ? "from" : "role"));
    for (size_t i = 0; i < cr_json_count(list); i++)
        CR_TRY(add_turn(rows, cr_json_at(list, i), from ? "from" : "role", from ? "value" : "content"));
    if (!messages) drop_leading_answer(rows);
    return CR_OK;
}

static enum cr_status add_history(struct cr_row_reader *rows)
{
    const struct cr_json *history = cr_json_member(rows->json, "history");
    if (cr_json_kind(history) != CR_JSON_NULL && cr_json_kind(history) != CR_JSON_ARRAY)
        return cr_fail(CR_INVALID, "%s: \"history\" must be a list", cr_buffer_text(&rows->where));
    for (size_t i = 0; i < cr_json_count(history); i++) {
        const struct cr_json *pair = cr_json_at(history, i);
        struct cr_slice asked = cr_json_string(cr_json_at(pair, 0));
        struct cr_slice answered = cr_json_string(cr_json_at(pair, 1));
        if (cr_json_count(pair) != 2 || !asked.data || !answered.data)
            return cr_fail(CR_INVALID, "%s: \"history\" must be a list of pairs of strings",
                           cr_buffer_text(&rows->where));
        CR_TRY(add_message(rows, CR_CHAT_USER, asked));
        CR_TRY(add_message(rows, CR_CHAT_ASSISTANT, answered));
    }
    return CR_OK;
}

static enum cr_status read_alpaca(struct cr_row_reader *rows, struct cr_row *row)
{
    bool question = !cr_json_member(rows->json, "instruction") && cr_json_member(rows->json, "question");
    CR_TRY(take_string(rows, question ? "question" : "instruction", false, &row->instruction));
    CR_TRY(take_string(rows, "input", true, &row->input));
    CR_TRY(take_string(rows, question ? "answer" : "output", false, &row->output));
    struct cr_slice user = row->instruction;
    if (row->input.size > 0) {
        cr_buffer_clear(&rows->joined);
        CR_TRY(cr_append(&rows->joined, user.data, user.size));
        if (user.size > 0) CR_TRY(cr_append(&rows->joined, "\n", 1));
        CR_TRY(cr_append(&rows->joined, row->input.data, row->input.size));
        user = cr_buffer_slice(&rows->joined);
    }
    CR_TRY(add_system(rows, NULL, ""));
    CR_TRY(add_history(rows));
    CR_TRY(add_message(rows, CR_CHAT_USER, user));
    return add_message(rows, CR_CHAT_ASSISTANT, row->output);
}

enum cr_row_kind cr_row_kind_of(const struct cr_json *row)
{
    if (cr_json_member(row, "messages") || cr_json_member(row, "conversations")) return CR_ROW_CHAT;
    if (cr_json_member(row, "instruction")) return CR_ROW_ALPACA;
    if (cr_json_member(row, "text")) return CR_ROW_TEXT;
    return cr_json_member(row, "question") ? CR_ROW_ALPACA : CR_ROW_UNKNOWN;
}

static enum cr_status read_row(struct cr_row_reader *rows, struct cr_row *out)
{
    if (cr_json_kind(rows->json) != CR_JSON_OBJECT)
        return cr_fail(CR_INVALID, "%s: a row must be an object", cr_buffer_text(&rows->where));
    enum cr_row_kind kind = rows->kind != CR_ROW_UNKNOWN ? rows->kind : cr_row_kind_of(rows->json);
    if (kind == CR_ROW_UNKNOWN)
        return cr_fail(
            CR_INVALID,
            "%s: a row needs \"text\", \"instruction\" and \"output\", \"question\" and \"answer\", "
            "\"messages\" or \"conversations\"",
            cr_buffer_text(&rows->where));
    struct cr_row row = {.kind = kind};
    rows->message_count = 0;
    if (kind != CR_ROW_TEXT && is_filled(cr_json_member(rows->json, "tools")))
        return cr_fail(CR_INVALID, "%s: \"tools\": calls of tools are not learned",
                       cr_buffer_text(&rows->where));
    if (kind == CR_ROW_TEXT)
        CR_TRY(take_string(rows, "text", false, &row.text));
    else
        CR_TRY(kind == CR_ROW_CHAT ? read_chat(rows) : read_alpaca(rows, &row));
    row.messages = rows->messages;
    row.message_count = rows->message_count;
    rows->kind = kind;
    *out = row;
    return CR_OK;
}

static enum cr_status next_json(struct cr_row_reader *rows, bool *found, struct cr_row *row)
{
    size_t count = rows->count;
    struct cr_slice text = {NULL, 0};
    struct cr_json_place from = rows->place;
    if (rows->array) {
        CR_TRY(find_item(rows, &text, &from));
    } else if (!rows->ended) {
        skip_space(rows);
        from = rows->place;
        text = take_line(rows);
    }
    *found = text.size > 0;
    if (!*found) return CR_OK;
    rows->count++;
    cr_buffer_clear(&rows->where);
    CR_TRY(cr_append_format(&rows->where, "%s:%zu", rows->path, from.line));
    if (rows->array) CR_TRY(cr_append_format(&rows->where, ": item %zu", count + 1));
    cr_json_free(rows->json);
    rows->json = NULL;
    enum cr_status status = cr_json_parse_part(text, rows->path, from, &rows->json);
    if (status == CR_INVALID && count == 0 &&
        !rows->array) // a file of another kind, or rows over several lines
        return cr_fail(CR_INVALID, "%s (a row is one line of JSON, or the file is one array)",
                       cr_error_message());
    CR_TRY(status);
    return read_row(rows, row);
}

static enum cr_status next_tabbed(struct cr_row_reader *rows, bool *found, struct cr_row *row)
{
    struct cr_slice line = {NULL, 0}, label = {NULL, 0};
    do {
        if (peek(rows) == '\n') step(rows);
        *found = rows->at < rows->file.size;
        if (!*found) return CR_OK;
        cr_buffer_clear(&rows->where);
        CR_TRY(cr_append_format(&rows->where, "%s:%zu", rows->path, rows->place.line));
        bool heading = rows->count == 0 && rows->place.line == 1;
        line = take_line(rows);
        if (line.size > 0 && line.data[line.size - 1] == '\r') line.size--;
        const unsigned char *tab = line.size > 0 ? memchr(line.data, '\t', line.size) : NULL;
        label = tab ? (struct cr_slice){tab + 1, line.size - (size_t)(tab + 1 - line.data)}
                    : (struct cr_slice){NULL, 0};
        if (heading && cr_slice_equal(label, cr_slice_of_string("label"))) line.size = 0;
    } while (line.size == 0);
    rows->count++;
    if (!label.data || memchr(label.data, '\t', label.size))
        return cr_fail(CR_INVALID, "%s: a sentence, one TAB and a label are wanted",
                       cr_buffer_text(&rows->where));
    rows->kind = CR_ROW_LABELLED;
    *row = (struct cr_row){
        .kind = CR_ROW_LABELLED, .text = {line.data, (size_t)(label.data - 1 - line.data)}, .label = label};
    return CR_OK;
}

enum cr_status cr_row_reader_next(struct cr_row_reader *rows, bool *found, struct cr_row *row)
{
    bool there = false;
    if (!rows->ended)
        CR_TRY(rows->lines_of_tabs ? next_tabbed(rows, &there, row) : next_json(rows, &there, row));
    rows->broken = false;
    rows->ended = !there;
    *found = there;
    return CR_OK;
}
