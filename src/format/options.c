#include "format/options.h"
#include "base/file.h"
#include "format/option_value.h"

#include <string.h>
#include <yaml.h>

enum { MAX_TEXT = 1 << 20 };

// libyaml's parser and its current event. Only the table's rules decide how a scalar is read, not YAML's own
// rules for booleans and numbers.
struct reader {
    yaml_parser_t parser;
    yaml_event_t event;
    struct cr_slice text;
    const char *name;
};

static void close_reader(struct reader *reader)
{
    yaml_event_delete(&reader->event);
    yaml_parser_delete(&reader->parser);
}

static size_t line_of(const struct reader *reader)
{
    return reader->event.start_mark.line + 1;
}

// Fails for the key at `path`, with the line of the current event.
static enum cr_status fail_here(const struct reader *reader, const char *path, const char *reason)
{
    return cr_fail(CR_INVALID, "%s:%zu: %.100s: %s", reader->name, line_of(reader), path, reason);
}

static enum cr_status fail_byte(struct cr_slice text, size_t at, const char *name, const char *reason)
{
    size_t line = 1;
    for (size_t i = 0; i < at && i < text.size; i++) line += text.data[i] == '\n';
    return cr_fail(CR_INVALID, "%s:%zu: %s", name, line, reason);
}

static enum cr_status fail_parser(const struct reader *reader)
{
    const yaml_parser_t *parser = &reader->parser;
    if (parser->error == YAML_MEMORY_ERROR) return cr_fail(CR_NO_MEMORY, "%s: out of memory", reader->name);
    const char *problem = parser->problem ? parser->problem : "not YAML";
    // libyaml's reader is ahead of its scanner, and only the scanner counts lines.
    if (parser->error == YAML_READER_ERROR)
        return fail_byte(reader->text, parser->problem_offset, reader->name, problem);
    return cr_fail(CR_INVALID, "%s:%zu:%zu: %s", reader->name, parser->problem_mark.line + 1,
                   parser->problem_mark.column + 1, problem);
}

static enum cr_status next(struct reader *reader)
{
    yaml_event_delete(&reader->event);
    memset(&reader->event, 0, sizeof reader->event);
    if (!yaml_parser_parse(&reader->parser, &reader->event)) return fail_parser(reader);
    const yaml_char_t *anchor = NULL, *tag = NULL;
    switch (reader->event.type) {
    case YAML_ALIAS_EVENT:
        return fail_here(reader, "*", "aliases are not supported");
    case YAML_SCALAR_EVENT:
        anchor = reader->event.data.scalar.anchor;
        tag = reader->event.data.scalar.tag;
        break;
    case YAML_SEQUENCE_START_EVENT:
        anchor = reader->event.data.sequence_start.anchor;
        tag = reader->event.data.sequence_start.tag;
        break;
    case YAML_MAPPING_START_EVENT:
        anchor = reader->event.data.mapping_start.anchor;
        tag = reader->event.data.mapping_start.tag;
        break;
    default:
        break;
    }
    if (anchor) return fail_here(reader, (const char *)anchor, "anchors are not supported");
    if (tag) return fail_here(reader, (const char *)tag, "tags are not supported");
    return CR_OK;
}

static enum cr_status open_reader(struct reader *reader, struct cr_slice text, const char *name)
{
    memset(reader, 0, sizeof *reader);
    reader->name = name;
    if (!yaml_parser_initialize(&reader->parser)) return cr_fail(CR_NO_MEMORY, "%s: out of memory", name);
    yaml_parser_set_encoding(&reader->parser, YAML_UTF8_ENCODING); // reads a byte order mark as text
    reader->text = text = cr_utf8_unmarked(text);
    yaml_parser_set_input_string(&reader->parser, text.size > 0 ? text.data : (const unsigned char *)"",
                                 text.size);
    CR_TRY(next(reader)); // skips the stream's start
    return next(reader);
}

static bool is_plain(const struct reader *reader)
{
    return reader->event.data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
}

static bool is_empty(const struct reader *reader)
{
    return reader->event.type == YAML_SCALAR_EVENT && is_plain(reader) &&
           reader->event.data.scalar.length == 0;
}

// The current scalar's text, valid until the next event.
static enum cr_status scalar_text(const struct reader *reader, const char *path, const char **out)
{
    const char *text = (const char *)reader->event.data.scalar.value;
    if (strlen(text) != reader->event.data.scalar.length)
        return fail_here(reader, path, "a text with a zero byte");
    *out = text;
    return CR_OK;
}

static enum cr_status read_map(struct reader *reader, const struct cr_option_table *table, void *config,
                               const char *prefix, const char *shown, size_t *lines);
static enum cr_status read_whole_map(struct reader *reader, const struct cr_option_table *table, void *config,
                                     const char *shown, size_t *lines);

static enum cr_status within(const struct reader *reader, enum cr_status status, const char *path)
{
    if (status == CR_OK) return CR_OK;
    return cr_fail_within(status, "%s:%zu: %.100s", reader->name, line_of(reader), path);
}

static enum cr_status read_scalar(struct reader *reader, const struct cr_option *option, const char *path,
                                  void *field)
{
    if (reader->event.type == YAML_MAPPING_START_EVENT)
        return fail_here(reader, path, "one value is wanted, not a map");
    if (reader->event.type == YAML_SEQUENCE_START_EVENT)
        return fail_here(reader, path, "one value is wanted, not a list");
    const char *text = NULL;
    CR_TRY(scalar_text(reader, path, &text));
    return within(reader, cr_option_set_scalar(option, text, !is_plain(reader), field), path);
}

static enum cr_status read_element(struct reader *reader, const struct cr_option *option, const char *path,
                                   void *list)
{
    if (reader->event.type != YAML_SCALAR_EVENT)
        return fail_here(reader, path, "a list of single values is wanted");
    const char *text = NULL;
    CR_TRY(scalar_text(reader, path, &text));
    return within(reader, cr_option_add_element(option, text, !is_plain(reader), list), path);
}

static enum cr_status read_record(struct reader *reader, const struct cr_option *option, const char *path,
                                  struct cr_record_list *list)
{
    CR_CLEANUP(cr_buffer_release) struct cr_buffer shown = {0};
    CR_TRY(cr_append_format(&shown, "%s[%zu]", path, list->count));
    if (reader->event.type != YAML_MAPPING_START_EVENT)
        return fail_here(reader, cr_buffer_text(&shown), "a map is wanted");
    void *record;
    CR_TRY(cr_option_add_record(option, list, &record));
    return read_whole_map(reader, option->records, record, cr_buffer_text(&shown), NULL);
}

union list {
    struct cr_string_list strings;
    struct cr_size_list sizes;
    struct cr_record_list records;
};

// Moves the list into the field, or frees it if reading it failed.
static enum cr_status take_list(const struct cr_option *option, enum cr_status status, union list *list,
                                void *field)
{
    cr_option_release(option, status == CR_OK ? field : list);
    if (status != CR_OK) return status;
    if (option->type == CR_OPTION_STRINGS) *(struct cr_string_list *)field = list->strings;
    if (option->type == CR_OPTION_SIZES) *(struct cr_size_list *)field = list->sizes;
    if (option->type == CR_OPTION_RECORDS) *(struct cr_record_list *)field = list->records;
    return CR_OK;
}

// Reads a list, or a single element in its place; a list of records has no such short form.
static enum cr_status read_list(struct reader *reader, const struct cr_option *option, const char *path,
                                void *field)
{
    union list list = {0};
    enum cr_status status = CR_OK;
    bool records = option->type == CR_OPTION_RECORDS;
    if (reader->event.type == YAML_SEQUENCE_START_EVENT) {
        while ((status = next(reader)) == CR_OK && reader->event.type != YAML_SEQUENCE_END_EVENT) {
            status = records ? read_record(reader, option, path, &list.records)
                             : read_element(reader, option, path, &list);
            if (status != CR_OK) break;
        }
    } else if (records) {
        status = fail_here(reader, path, "a list of maps is wanted");
    } else {
        status = read_element(reader, option, path, &list);
    }
    return take_list(option, status, &list, field);
}

static enum cr_status read_value(struct reader *reader, const struct cr_option *option, const char *path,
                                 void *field)
{
    bool list = option->type == CR_OPTION_STRINGS || option->type == CR_OPTION_SIZES ||
                option->type == CR_OPTION_RECORDS;
    return list ? read_list(reader, option, path, field) : read_scalar(reader, option, path, field);
}

// The index of the first option in the section `path`, or the table's count.
static size_t find_section(const struct cr_option_table *table, const char *path)
{
    size_t length = strlen(path), i = 0;
    while (i < table->count &&
           !(strncmp(table->options[i].key, path, length) == 0 && table->options[i].key[length] == '.'))
        i++;
    return i;
}

static enum cr_status append_path(struct cr_buffer *out, const char *prefix, const char *key)
{
    return cr_append_format(out, "%s%s%s", prefix, *prefix ? "." : "", key);
}

// Reads one key of a map, the current event, and its value. Different keys of one map have different indices
// (an option's, or that of a section's first option), so `here`, by index, detects duplicates.
static enum cr_status read_member(struct reader *reader, const struct cr_option_table *table, void *config,
                                  const char *prefix, const char *shown, size_t *lines, bool *here)
{
    CR_CLEANUP(cr_buffer_release) struct cr_buffer path_text = {0};
    CR_CLEANUP(cr_buffer_release) struct cr_buffer shown_text = {0};
    const char *key = NULL;
    if (reader->event.type != YAML_SCALAR_EVENT)
        return fail_here(reader, *shown ? shown : "key", "a key is wanted, not a list or map");
    CR_TRY(scalar_text(reader, *shown ? shown : "key", &key));
    CR_TRY(append_path(&path_text, prefix, key));
    CR_TRY(append_path(&shown_text, shown, key));
    const char *path = cr_buffer_text(&path_text), *full = cr_buffer_text(&shown_text);
    if (strchr(key, '.')) return fail_here(reader, full, "keys with dots are written as maps within maps");

    const struct cr_option *option = cr_option_find(table, path);
    size_t index = option ? (size_t)(option - table->options) : find_section(table, path);
    if (index == table->count) {
        CR_CLEANUP(cr_buffer_release) struct cr_buffer place = {0};
        CR_TRY(cr_append_format(&place, "%s:%zu: ", reader->name, line_of(reader)));
        return cr_option_fail_unknown(table, cr_buffer_text(&place), path);
    }
    if (here[index]) return fail_here(reader, full, "given twice");
    here[index] = true;
    size_t line = line_of(reader);
    CR_TRY(next(reader));
    if (option) {
        lines[index] = line;
        return read_value(reader, option, full, cr_option_field(option, config));
    }
    if (is_empty(reader)) return CR_OK; // a section whose keys are all commented out
    if (reader->event.type != YAML_MAPPING_START_EVENT)
        return fail_here(reader, full, "a map of settings is wanted");
    return read_map(reader, table, config, path, full, lines);
}

// Reads a map from start to end. `prefix` is its path in the table, `shown` its path in the file.
static enum cr_status read_map(struct reader *reader, const struct cr_option_table *table, void *config,
                               const char *prefix, const char *shown, size_t *lines)
{
    CR_FREE bool *here = NULL;
    CR_TRY(cr_allocate(table->count, sizeof *here, &here));
    for (;;) {
        CR_TRY(next(reader));
        if (reader->event.type == YAML_MAPPING_END_EVENT) return CR_OK;
        CR_TRY(read_member(reader, table, config, prefix, shown, lines, here));
    }
}

static enum cr_status set_defaults(const struct cr_option_table *table, void *config);

// Reads a map by a whole table: sets the defaults first, checks for required keys last. The current event is
// the map's start or, if the file is empty, anything else.
static enum cr_status read_whole_map(struct reader *reader, const struct cr_option_table *table, void *config,
                                     const char *shown, size_t *lines)
{
    CR_FREE size_t *given = NULL;
    CR_TRY(cr_allocate(table->count, sizeof *given, &given));
    CR_TRY(set_defaults(table, config));
    size_t line = line_of(reader);
    if (reader->event.type == YAML_MAPPING_START_EVENT)
        CR_TRY(read_map(reader, table, config, "", shown, given));
    for (size_t i = 0; i < table->count; i++)
        if (table->options[i].required && given[i] == 0)
            return cr_fail(CR_INVALID, "%s:%zu: %s%s%s is missing", reader->name, line, shown,
                           *shown ? "." : "", table->options[i].key);
    if (lines) memcpy(lines, given, table->count * sizeof *lines);
    return CR_OK;
}

static enum cr_status read_end(struct reader *reader)
{
    CR_TRY(next(reader)); // the document's end
    CR_TRY(next(reader));
    if (reader->event.type != YAML_STREAM_END_EVENT)
        return cr_fail(CR_INVALID, "%s:%zu: a second document", reader->name, line_of(reader));
    return CR_OK;
}

static enum cr_status read_document(struct reader *reader, const struct cr_option_table *table, void *config,
                                    size_t *lines)
{
    if (reader->event.type == YAML_STREAM_END_EVENT) return read_whole_map(reader, table, config, "", lines);
    CR_TRY(next(reader)); // skips the document's start
    if (reader->event.type != YAML_MAPPING_START_EVENT && !is_empty(reader))
        return cr_fail(CR_INVALID, "%s:%zu: a map of settings is wanted", reader->name, line_of(reader));
    CR_TRY(read_whole_map(reader, table, config, "", lines));
    return read_end(reader);
}

// Sets a field from text outside of a file: a default, or a command line's value. Scalars are taken
// literally; lists are YAML.
static enum cr_status set_from_text(const struct cr_option *option, const char *text, void *field)
{
    if (option->type == CR_OPTION_RECORDS)
        return cr_fail(CR_INVALID, "%s: a list of maps can only be given in a file", option->key);
    if (option->type != CR_OPTION_STRINGS && option->type != CR_OPTION_SIZES) {
        enum cr_status status = cr_option_set_scalar(option, text, false, field);
        return status == CR_OK ? CR_OK : cr_fail_within(status, "%s", option->key);
    }
    if (!cr_utf8_valid(cr_slice_of_string(text), NULL))
        return cr_fail(CR_INVALID, "%s: invalid UTF-8", option->key);
    union list list = {0};
    CR_CLEANUP(close_reader) struct reader reader;
    enum cr_status status = open_reader(&reader, cr_slice_of_string(text), option->key);
    if (status == CR_OK && reader.event.type == YAML_STREAM_END_EVENT)
        status = fail_here(&reader, option->key, "no value");
    if (status == CR_OK) status = next(&reader);
    if (status == CR_OK) status = read_list(&reader, option, option->key, &list);
    if (status == CR_OK) status = read_end(&reader);
    return take_list(option, status, &list, field);
}

static enum cr_status set_defaults(const struct cr_option_table *table, void *config)
{
    memset(config, 0, table->struct_size);
    for (size_t i = 0; i < table->count; i++) {
        const struct cr_option *option = &table->options[i];
        if (option->fallback)
            CR_TRY(set_from_text(option, option->fallback, cr_option_field(option, config)));
    }
    return CR_OK;
}

enum cr_status cr_options_parse(const struct cr_option_table *table, struct cr_slice yaml, const char *name,
                                void *config, size_t *lines)
{
    if (yaml.size > MAX_TEXT)
        return cr_fail(CR_INVALID, "%s: %zu bytes of settings, more than the %d allowed", name, yaml.size,
                       MAX_TEXT);
    size_t bad_at;
    if (!cr_utf8_valid(yaml, &bad_at)) return fail_byte(yaml, bad_at, name, "invalid UTF-8");
    // Filled in a copy, so that the caller's config is unchanged on failure.
    CR_FREE void *filled = NULL;
    CR_TRY(cr_allocate(1, table->struct_size, &filled));
    CR_CLEANUP(close_reader) struct reader reader;
    enum cr_status status = open_reader(&reader, yaml, name);
    if (status == CR_OK) status = read_document(&reader, table, filled, lines);
    if (status != CR_OK) {
        cr_options_release(table, filled);
        return status;
    }
    memcpy(config, filled, table->struct_size);
    return CR_OK;
}

enum cr_status cr_options_read(const struct cr_option_table *table, const char *path, void *config,
                               size_t *lines)
{
    CR_CLEANUP(cr_buffer_release) struct cr_buffer text = {0};
    CR_TRY(cr_file_read(path, MAX_TEXT, &text));
    return cr_options_parse(table, cr_buffer_slice(&text), path, config, lines);
}

enum cr_status cr_options_set(const struct cr_option_table *table, void *config, const char *key,
                              const char *value)
{
    const struct cr_option *option = cr_option_find(table, key);
    if (!option && find_section(table, key) < table->count)
        return cr_fail(CR_INVALID, "%s: a group of settings: a key within it is wanted (%s, say)", key,
                       table->options[find_section(table, key)].key);
    if (!option) return cr_option_fail_unknown(table, "", key);
    return set_from_text(option, value, cr_option_field(option, config));
}

void cr_options_release(const struct cr_option_table *table, void *config)
{
    for (size_t i = 0; i < table->count; i++)
        cr_option_release(&table->options[i], cr_option_field(&table->options[i], config));
}
