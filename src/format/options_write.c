#include "format/json.h"
#include "format/option_value.h"
#include "format/options.h"

#include <inttypes.h>
#include <string.h>

// Code points that YAML does not allow in a quoted text, treats as line breaks, or that are invisible.
static bool needs_escape(uint32_t c)
{
    return c < 0x20 || (c >= 0x7f && c <= 0xa0) || c == 0x2028 || c == 0x2029 || c == 0xfeff || c == 0xfffe ||
           c == 0xffff;
}

static enum cr_status append_quoted(struct cr_buffer *out, const char *text)
{
    if (!cr_utf8_valid(cr_slice_of_string(text), NULL))
        return cr_fail(CR_INVALID, "a setting is invalid UTF-8 and cannot be written");
    CR_TRY(cr_append_u8(out, '"'));
    const unsigned char *at = (const unsigned char *)text;
    while (*at) {
        const unsigned char *start = at;
        uint32_t c = cr_utf8_next(&at);
        if (c == '"' || c == '\\')
            CR_TRY(cr_append_format(out, "\\%c", (int)c));
        else if (needs_escape(c))
            CR_TRY(cr_append_format(out, "\\u%04" PRIx32, c));
        else
            CR_TRY(cr_append(out, start, (size_t)(at - start)));
    }
    return cr_append_u8(out, '"');
}

static enum cr_status append_strings(struct cr_buffer *out, const struct cr_string_list *list)
{
    CR_TRY(cr_append(out, "[", 1));
    for (size_t i = 0; i < list->count; i++) {
        if (i > 0) CR_TRY(cr_append(out, ", ", 2));
        CR_TRY(append_quoted(out, list->items[i]));
    }
    return cr_append(out, "]", 1);
}

static enum cr_status append_sizes(struct cr_buffer *out, const struct cr_size_list *list)
{
    CR_TRY(cr_append(out, "[", 1));
    for (size_t i = 0; i < list->count; i++)
        CR_TRY(cr_append_format(out, "%s%zu", i > 0 ? ", " : "", list->items[i]));
    return cr_append(out, "]", 1);
}

// Which options to write, and how.
struct style {
    const char *const *keys; // NULL: all
    size_t key_count;
    bool comments; // each option's help above it
};

static enum cr_status append_map(struct cr_buffer *out, const struct cr_option_table *table,
                                 const void *config, const struct style *style, const char *prefix,
                                 size_t prefix_length, int indent);

// "key:" has been written. Each record is a map of its own, indented below it.
static enum cr_status append_records(struct cr_buffer *out, const struct cr_option *option,
                                     const struct cr_record_list *list, int indent)
{
    if (list->count == 0) return cr_append_format(out, " []");
    for (size_t i = 0; i < list->count; i++) {
        const void *record = (const char *)list->items + i * option->records->struct_size;
        CR_TRY(cr_append(out, "\n", 1));
        size_t line = out->size;
        CR_TRY(append_map(out, option->records, record, &(struct style){0}, "", 0, indent + 4));
        out->size--;                                // the caller adds the last line break
        out->data[line + (size_t)indent + 2] = '-'; // replaces a space of the first line's indentation
    }
    return CR_OK;
}

// Writes a point before an exponent: readers of YAML 1.1, such as PyYAML, take "1e-05" as a string.
static enum cr_status append_number(struct cr_buffer *out, double number)
{
    CR_CLEANUP(cr_buffer_release) struct cr_buffer text = {0};
    CR_TRY(cr_json_append_number(&text, number));
    const char *digits = cr_buffer_text(&text), *exponent = strchr(digits, 'e');
    if (!exponent || strchr(digits, '.')) return cr_append(out, text.data, text.size);
    return cr_append_format(out, "%.*s.0%s", (int)(exponent - digits), digits, exponent);
}

static enum cr_status append_value(struct cr_buffer *out, const struct cr_option *option, const void *field,
                                   int indent)
{
    if (option->type == CR_OPTION_RECORDS) return append_records(out, option, field, indent);
    CR_TRY(cr_append(out, " ", 1));
    switch (option->type) {
    case CR_OPTION_BOOL:
        return cr_append_format(out, "%s", *(const bool *)field ? "true" : "false");
    case CR_OPTION_SIZE:
        return cr_append_format(out, "%zu", *(const size_t *)field);
    case CR_OPTION_SEED:
        return cr_append_format(out, "%" PRIu64, *(const uint64_t *)field);
    case CR_OPTION_NUMBER:
        return append_number(out, *(const double *)field);
    case CR_OPTION_CHOICE:
        return cr_append_format(out, "%s", option->choices[*(const int *)field]);
    case CR_OPTION_STRINGS:
        return append_strings(out, field);
    case CR_OPTION_SIZES:
        return append_sizes(out, field);
    case CR_OPTION_STRING: {
        const char *text = *(char *const *)field;
        return text ? append_quoted(out, text) : cr_append_format(out, "null");
    }
    case CR_OPTION_RECORDS:
        break;
    }
    return cr_fail(CR_INTERNAL, "option %s has no known type", option->key);
}

static bool is_wanted(const struct style *style, const struct cr_option *option, const void *config)
{
    if (option->useful && !option->useful(config)) return false;
    for (size_t i = 0; i < style->key_count; i++)
        if (strcmp(style->keys[i], option->key) == 0) return true;
    return !style->keys;
}

// Whether an option before the i-th that is to be written lies in the same section, whose name is `length`
// bytes long.
static bool section_seen(const struct cr_option_table *table, const void *config, const struct style *style,
                         size_t i, size_t length)
{
    for (size_t j = 0; j < i; j++)
        if (is_wanted(style, &table->options[j], config) &&
            strncmp(table->options[j].key, table->options[i].key, length + 1) == 0)
            return true;
    return false;
}

// Appends the help and the allowed choices, in comment lines of bounded width.
static enum cr_status append_comment(struct cr_buffer *out, const struct cr_option *option, int indent)
{
    enum { WIDTH = 80 };
    if (!option->help) return CR_OK;
    CR_CLEANUP(cr_buffer_release) struct cr_buffer text = {0};
    CR_TRY(cr_append_format(&text, "%s", option->help));
    for (size_t i = 0; option->type == CR_OPTION_CHOICE && option->choices[i]; i++)
        CR_TRY(cr_append_format(&text, "%s %s", i > 0 ? "," : " One of", option->choices[i]));
    if (option->type == CR_OPTION_CHOICE) CR_TRY(cr_append_format(&text, "."));
    CR_CLEANUP(cr_buffer_release) struct cr_buffer margin = {0};
    CR_TRY(cr_append_format(&margin, "%*s# ", indent, ""));
    CR_TRY(cr_append_format(out, "%s", cr_buffer_text(&margin)));
    CR_TRY(cr_append_words(out, cr_buffer_text(&text), margin.size, WIDTH, cr_buffer_text(&margin)));
    return cr_append_format(out, "\n");
}

// Appends the options whose keys begin with `prefix` (which ends in a dot, or is empty), in the table's
// order.
static enum cr_status append_map(struct cr_buffer *out, const struct cr_option_table *table,
                                 const void *config, const struct style *style, const char *prefix,
                                 size_t prefix_length, int indent)
{
    for (size_t i = 0; i < table->count; i++) {
        const struct cr_option *option = &table->options[i];
        if (strncmp(option->key, prefix, prefix_length) != 0 || !is_wanted(style, option, config)) continue;
        const char *rest = option->key + prefix_length, *dot = strchr(rest, '.');
        if (!dot) {
            if (style->comments) CR_TRY(append_comment(out, option, indent));
            CR_TRY(cr_append_format(out, "%*s%s:", indent, "", rest));
            CR_TRY(append_value(out, option, cr_option_field_const(option, config), indent));
            CR_TRY(cr_append(out, "\n", 1));
            continue;
        }
        size_t length = (size_t)(dot - option->key);
        if (section_seen(table, config, style, i, length)) continue;
        if (style->comments && out->size > 0) CR_TRY(cr_append_format(out, "\n"));
        CR_TRY(cr_append_format(out, "%*s%.*s:\n", indent, "", (int)(dot - rest), rest));
        CR_TRY(append_map(out, table, config, style, option->key, length + 1, indent + 2));
    }
    return CR_OK;
}

enum cr_status cr_options_write(const struct cr_option_table *table, const void *config,
                                struct cr_buffer *out)
{
    CR_CLEANUP(cr_buffer_release) struct cr_buffer text = {0};
    CR_TRY(append_map(&text, table, config, &(struct style){0}, "", 0, 0));
    return cr_append(out, text.data, text.size);
}

enum cr_status cr_options_write_commented(const struct cr_option_table *table, const void *config,
                                          const char *const *keys, size_t count, struct cr_buffer *out)
{
    const struct style style = {.keys = keys, .key_count = count, .comments = true};
    return append_map(out, table, config, &style, "", 0, 0);
}
