#include "text/rows.h"

#include "base/file.h"
#include "base/mapping.h"
#include "base/parse.h"

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

// Refuses common other formats, and says how to convert them.
static enum cr_status refuse_others(const char *path, struct cr_slice file)
{
    static const struct {
        const char *bytes, *ending, *what, *help;
    } others[] = {
        {"\x1f\x8b", NULL, "gzip", "gunzip it first"},
        {"PAR1", NULL, "Parquet", "write JSONL with to_json of the datasets library, or with DuckDB"},
        {"\xff\xfe", NULL, "UTF-16", "iconv -f UTF-16 -t UTF-8 makes text of it that is read"},
        {"\xfe\xff", NULL, "UTF-16", "iconv -f UTF-16 -t UTF-8 makes text of it that is read"},
        {NULL, ".csv", "CSV", "write JSONL, or sentence, TAB and label into a .tsv"},
    };
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        const char *bytes = others[i].bytes;
        size_t size = bytes ? strlen(bytes) : 0;
        bool is_it = bytes ? file.size >= size && memcmp(file.data, bytes, size) == 0
                           : cr_ends_with(path, others[i].ending);
        if (is_it)
            return cr_fail(CR_INVALID, "%s: %s, not JSONL or a JSON array (%s)", path, others[i].what,
                           others[i].help);
    }
    return CR_OK;
}

static enum cr_status map_rows(const char *path, struct cr_slice *out)
{
    struct cr_slice file;
    CR_TRY(cr_file_map(path, &file));
    enum cr_status status = cr_file_refuse_pointer(path, file);
    if (status == CR_OK) status = refuse_others(path, file);
    if (status != CR_OK)
        cr_file_unmap(&file);
    else
        *out = file;
    return status;
}

enum cr_status cr_row_reader_open(const char *path, struct cr_row_reader *out)
{
    struct cr_row_reader rows = {.place = {1, 1},
                                 .parser.form = {.path = path, .lines_of_tabs = cr_ends_with(path, ".tsv")}};
    struct cr_row_form *form = &rows.parser.form;
    CR_TRY(map_rows(path, &rows.file));
    size_t start = rows.file.size - cr_utf8_unmarked(rows.file).size;
    rows.at = start;
    skip_space(&rows);
    if (rows.at == rows.file.size) {
        cr_file_unmap(&rows.file);
        return cr_fail(CR_INVALID, "%s: the file is empty", path);
    }
    form->array = !form->lines_of_tabs && peek(&rows) == '[';
    if (form->array) step(&rows);
    if (form->lines_of_tabs) { // the first line may begin with a TAB
        rows.at = start;
        rows.place = (struct cr_json_place){1, 1};
    }
    *out = rows;
    return CR_OK;
}

void cr_row_reader_close(struct cr_row_reader *rows)
{
    cr_file_unmap(&rows->file);
    cr_row_parser_release(&rows->parser);
    *rows = (struct cr_row_reader){0};
}

// Takes the rest of the current line.
static struct cr_slice take_line(struct cr_row_reader *rows)
{
    size_t start = rows->at;
    const unsigned char *end = memchr(rows->file.data + start, '\n', rows->file.size - start);
    rows->at = end ? (size_t)(end - rows->file.data) : rows->file.size;
    return (struct cr_slice){rows->file.data + start, rows->at - start};
}

// Skips the current item: an object or a list up to its closing bracket, anything else up to the next
// separator. Whether it is well-formed is checked when it is parsed.
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
        return cr_fail(CR_INVALID, "%s:%zu: there is more after the array", rows->parser.form.path,
                       rows->place.line);
    } else if (rows->count > 0) {
        return cr_fail(CR_INVALID, "%s:%zu: item %zu: \",\" or \"]\" is wanted after it",
                       rows->parser.form.path, rows->place.line, rows->count);
    }
    size_t start = rows->at;
    *from = rows->place;
    skip_item(rows);
    *row = (struct cr_slice){rows->file.data + start, rows->at - start};
    if (row->size == 0)
        return cr_fail(CR_INVALID, "%s:%zu: item %zu: an object is wanted", rows->parser.form.path,
                       rows->place.line, rows->count + 1);
    skip_space(rows);
    rows->broken = peek(rows) != ',' && peek(rows) != ']';
    return CR_OK;
}

// Takes the next line; an empty one if there is none.
static void take_json_line(struct cr_row_reader *rows, struct cr_row_item *item)
{
    skip_space(rows);
    item->place = rows->place;
    item->text = take_line(rows);
}

// Takes the next line that is neither empty nor a heading.
static void take_tabbed_line(struct cr_row_reader *rows, struct cr_row_item *item)
{
    do {
        if (peek(rows) == '\n') step(rows);
        bool first = rows->count == 0 && rows->place.line == 1;
        item->place = rows->place;
        item->text = take_line(rows);
        if (item->text.size > 0 && item->text.data[item->text.size - 1] == '\r') item->text.size--;
        if (first && cr_slice_equal(cr_row_behind_tab(item->text), cr_slice_of_string("label")))
            item->text.size = 0;
    } while (item->text.size == 0 && rows->at < rows->file.size);
}

enum cr_status cr_row_reader_take(struct cr_row_reader *rows, bool *found, struct cr_row_item *item)
{
    const struct cr_row_form *form = &rows->parser.form;
    struct cr_row_item next = {.number = rows->count};
    if (!rows->ended) {
        if (form->array)
            CR_TRY(find_item(rows, &next.text, &next.place));
        else if (form->lines_of_tabs)
            take_tabbed_line(rows, &next);
        else
            take_json_line(rows, &next);
    }
    *found = next.text.size > 0;
    rows->ended = !*found;
    rows->count += *found;
    *item = next;
    return CR_OK;
}

enum cr_status cr_row_reader_next(struct cr_row_reader *rows, bool *found, struct cr_row *row)
{
    struct cr_row_item item;
    bool there;
    CR_TRY(cr_row_reader_take(rows, &there, &item));
    if (there) CR_TRY(cr_row_parse(&rows->parser, &item, row));
    rows->broken = false;
    *found = there;
    return CR_OK;
}
