// What docs/ say of settings, made from the table that reads them.
#ifndef CARREL_TESTS_OPTIONS_DOCUMENT_H
#define CARREL_TESTS_OPTIONS_DOCUMENT_H

#include "support.h"

#include "base/file.h"
#include "format/option_value.h"

static inline const char *type_name(enum cr_option_type type)
{
    static const char *const names[] = {
        [CR_OPTION_BOOL] = "true or false", [CR_OPTION_SIZE] = "integer",   [CR_OPTION_SEED] = "integer",
        [CR_OPTION_NUMBER] = "number",      [CR_OPTION_STRING] = "text",    [CR_OPTION_CHOICE] = "choice",
        [CR_OPTION_STRINGS] = "texts",      [CR_OPTION_SIZES] = "integers", [CR_OPTION_RECORDS] = "maps",
    };
    return names[type];
}

static inline enum cr_status append_range(struct cr_buffer *out, const struct cr_option *option)
{
    if (option->type == CR_OPTION_CHOICE) {
        for (size_t i = 0; option->choices[i]; i++)
            CR_TRY(cr_append_format(out, "%s`%s`", i > 0 ? ", " : "", option->choices[i]));
        return CR_OK;
    }
    return cr_option_append_range(option, out);
}

// A cell of a table: a bar would end it.
static inline enum cr_status append_cell(struct cr_buffer *out, const char *text)
{
    for (; *text; text++) CR_TRY(cr_append_format(out, *text == '|' ? "\\%c" : "%c", *text));
    return CR_OK;
}

static inline enum cr_status append_row(struct cr_buffer *out, const struct cr_option *option)
{
    CR_TRY(cr_append_format(out, "| `%s` | %s | ", option->key, type_name(option->type)));
    if (option->required)
        CR_TRY(cr_append_format(out, "required"));
    else if (option->fallback)
        CR_TRY(cr_append_format(out, "`%s`", option->fallback));
    CR_TRY(cr_append_format(out, " | "));
    CR_TRY(append_range(out, option));
    CR_TRY(cr_append_format(out, " | "));
    CR_TRY(append_cell(out, option->help ? option->help : ""));
    return cr_append_format(out, " |\n");
}

static inline size_t section_length(const char *key)
{
    const char *dot = strchr(key, '.');
    return dot ? (size_t)(dot - key) : 0;
}

static inline enum cr_status append_section(struct cr_buffer *out, const struct cr_option_table *table,
                                            const char *section, size_t length, const char *title)
{
    CR_TRY(cr_append_format(
        out, "%s## %s\n\n| key | type | default | range | meaning |\n| --- | --- | --- | --- | --- |\n",
        out->size > 0 ? "\n" : "", title));
    for (size_t i = 0; i < table->count; i++) {
        const char *key = table->options[i].key;
        if (section_length(key) == length && strncmp(key, section, length) == 0)
            CR_TRY(append_row(out, &table->options[i]));
    }
    return CR_OK;
}

// Sections in the order of their first option; then a section for each list of maps, by its own table.
static inline enum cr_status append_sections(struct cr_buffer *out, const struct cr_option_table *table,
                                             const char *path, const char *top_title)
{
    for (size_t i = 0; i < table->count; i++) {
        const char *key = table->options[i].key;
        size_t length = section_length(key);
        bool seen = false;
        for (size_t j = 0; j < i && !seen; j++)
            seen = section_length(table->options[j].key) == length &&
                   strncmp(table->options[j].key, key, length) == 0;
        if (seen) continue;
        CR_CLEANUP(cr_buffer_release) struct cr_buffer title = {0};
        if (length == 0)
            CR_TRY(cr_append_format(&title, "%s", top_title));
        else
            CR_TRY(cr_append_format(&title, "`%s%.*s`", path, (int)length, key));
        CR_TRY(append_section(out, table, key, length, cr_buffer_text(&title)));
    }
    for (size_t i = 0; i < table->count; i++) {
        if (table->options[i].type != CR_OPTION_RECORDS) continue;
        CR_CLEANUP(cr_buffer_release) struct cr_buffer title = {0}, below = {0};
        CR_TRY(cr_append_format(&title, "Each map of `%s%s`", path, table->options[i].key));
        CR_TRY(cr_append_format(&below, "%s%s[].", path, table->options[i].key));
        CR_TRY(
            append_sections(out, table->options[i].records, cr_buffer_text(&below), cr_buffer_text(&title)));
    }
    return CR_OK;
}

// Appends the table as Markdown: a table for each section, in the order of their first options.
static inline enum cr_status options_document(const struct cr_option_table *table, struct cr_buffer *out)
{
    CR_CLEANUP(cr_buffer_release) struct cr_buffer text = {0};
    CR_TRY(append_sections(&text, table, "", "Top level"));
    return cr_append(out, text.data, text.size);
}

// The page is this introduction and the table's document. With CARREL_WRITE_DOCS in the environment it is
// written instead.
static inline void assert_page_is_of(const struct cr_option_table *table, const char *introduction,
                                     const char *path)
{
    CR_CLEANUP(cr_buffer_release) struct cr_buffer expected = {0}, found = {0};
    assert_ok(cr_append_format(&expected, "%s", introduction));
    assert_ok(options_document(table, &expected));
    if (getenv("CARREL_WRITE_DOCS")) write_bytes(path, cr_buffer_slice(&expected));
    assert_ok(cr_file_read(path, 1 << 20, &found));
    if (!cr_slice_equal(cr_buffer_slice(&found), cr_buffer_slice(&expected)))
        fail_msg("%s is not of the table: with CARREL_WRITE_DOCS=1 this program writes it anew", path);
}

#endif
