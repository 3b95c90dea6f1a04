#include "text/rows.h"

#include "base/file.h"

#include <string.h>

static int peek(const struct cr_row_reader *rows)
{
    return rows->at < rows->file.size ? rows->file.data[rows->at] : -1;
}

static void step(struct cr_row_reader *rows)
{
    if (rows->file.data[rows->at++] == '\n') rows->line++;
}

static void skip_space(struct cr_row_reader *rows)
{
    while (peek(rows) == ' ' || peek(rows) == '\t' || peek(rows) == '\n' || peek(rows) == '\r') step(rows);
}

enum cr_status cr_row_reader_open(const char *path, struct cr_row_reader *out)
{
    struct cr_row_reader rows = {.path = path, .line = 1};
    CR_TRY(cr_file_map(path, &rows.file));
    if (rows.file.size >= 3 && memcmp(rows.file.data, "\xef\xbb\xbf", 3) == 0)
        rows.at = 3; // a byte order mark
    skip_space(&rows);
    if (rows.at == rows.file.size) {
        cr_file_unmap(&rows.file);
        return cr_fail(CR_INVALID, "%s: the file is empty", path);
    }
    rows.array = peek(&rows) == '[';
    if (rows.array) step(&rows);
    *out = rows;
    return CR_OK;
}

void cr_row_reader_close(struct cr_row_reader *rows)
{
    cr_file_unmap(&rows->file);
    cr_json_free(rows->json);
    cr_buffer_release(&rows->where);
    *rows = (struct cr_row_reader){0};
}

static enum cr_status find_line(struct cr_row_reader *rows, struct cr_slice *row, size_t *line)
{
    skip_space(rows);
    size_t start = rows->at;
    *line = rows->line;
    const unsigned char *end = memchr(rows->file.data + start, '\n', rows->file.size - start);
    rows->at = end ? (size_t)(end - rows->file.data) : rows->file.size;
    *row = (struct cr_slice){rows->file.data + start, rows->at - start};
    return CR_OK;
}

// The extent of the object at the reader's place, by its braces; whether it is well-formed is seen when it is
// parsed.
static void skip_object(struct cr_row_reader *rows)
{
    size_t depth = 0;
    bool in_string = false;
    for (; rows->at < rows->file.size; step(rows)) {
        int c = peek(rows);
        if (in_string) {
            if (c == '\\' && rows->at + 1 < rows->file.size) step(rows);
            if (c == '"') in_string = false;
        } else if (c == '"') {
            in_string = true;
        } else if (c == '{') {
            depth++;
        } else if (c == '}' && --depth == 0) {
            step(rows);
            return;
        }
    }
}

static enum cr_status find_item(struct cr_row_reader *rows, struct cr_slice *row, size_t *line)
{
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
        return cr_fail(CR_INVALID, "%s:%zu: there is more after the array", rows->path, rows->line);
    } else if (rows->count > 0) {
        return cr_fail(CR_INVALID, "%s:%zu: item %zu: \",\" or \"]\" is wanted after it", rows->path,
                       rows->line, rows->count);
    }
    if (peek(rows) != '{')
        return cr_fail(CR_INVALID, "%s:%zu: item %zu: an object is wanted", rows->path, rows->line,
                       rows->count + 1);
    size_t start = rows->at;
    *line = rows->line;
    skip_object(rows);
    *row = (struct cr_slice){rows->file.data + start, rows->at - start};
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

static enum cr_status read_row(struct cr_row_reader *rows, struct cr_row *out)
{
    if (cr_json_kind(rows->json) != CR_JSON_OBJECT)
        return cr_fail(CR_INVALID, "%s: a row must be an object", cr_buffer_text(&rows->where));
    if (rows->kind == CR_ROW_UNKNOWN) {
        if (cr_json_member(rows->json, "instruction"))
            rows->kind = CR_ROW_ALPACA;
        else if (cr_json_member(rows->json, "text"))
            rows->kind = CR_ROW_TEXT;
        else
            return cr_fail(CR_INVALID, "%s: a row needs \"text\", or \"instruction\" and \"output\"",
                           cr_buffer_text(&rows->where));
    }
    struct cr_row row = {.kind = rows->kind};
    if (rows->kind == CR_ROW_TEXT) {
        CR_TRY(take_string(rows, "text", false, &row.text));
    } else {
        CR_TRY(take_string(rows, "instruction", false, &row.instruction));
        CR_TRY(take_string(rows, "input", true, &row.input));
        CR_TRY(take_string(rows, "output", false, &row.output));
    }
    *out = row;
    return CR_OK;
}

enum cr_status cr_row_reader_next(struct cr_row_reader *rows, bool *found, struct cr_row *row)
{
    struct cr_slice text = {NULL, 0};
    if (!rows->ended) {
        size_t line = 0;
        CR_TRY(rows->array ? find_item(rows, &text, &line) : find_line(rows, &text, &line));
        cr_buffer_clear(&rows->where);
        CR_TRY(cr_append_format(&rows->where, "%s:%zu", rows->path, line));
        if (rows->array) CR_TRY(cr_append_format(&rows->where, ": item %zu", rows->count + 1));
    }
    if (text.size == 0) {
        rows->ended = true;
        *found = false;
        return CR_OK;
    }
    cr_json_free(rows->json);
    rows->json = NULL;
    CR_TRY(cr_json_parse(text, cr_buffer_text(&rows->where), &rows->json));
    CR_TRY(read_row(rows, row));
    rows->count++;
    *found = true;
    return CR_OK;
}
