#include "format/option_value.h"

#include "base/parse.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

void *cr_option_field(const struct cr_option *option, void *config)
{
    return (char *)config + option->offset;
}

const void *cr_option_field_const(const struct cr_option *option, const void *config)
{
    return (const char *)config + option->offset;
}

const struct cr_option *cr_option_find(const struct cr_option_table *table, const char *key)
{
    for (size_t i = 0; i < table->count; i++)
        if (strcmp(table->options[i].key, key) == 0) return &table->options[i];
    return NULL;
}

// Digits only, as in JSON: with a leading zero, some YAML readers take a number as octal and others as
// decimal.
static bool is_whole(const char *text)
{
    size_t digits = strspn(text, "0123456789");
    return digits > 0 && text[digits] == 0 && (digits == 1 || text[0] != '0');
}

static bool is_bounded(const struct cr_option *option)
{
    return option->least < 0 || option->least > 0 || option->most < 0 || option->most > 0;
}

enum cr_status cr_option_append_range(const struct cr_option *option, struct cr_buffer *out)
{
    if (!is_bounded(option)) return CR_OK;
    return cr_append_format(out, "%s%.15g to %s%.15g", option->above ? "above " : "", option->least,
                            option->below ? "below " : "", option->most);
}

static enum cr_status check_range(const struct cr_option *option, const char *text, double value)
{
    bool within = (option->above ? value > option->least : value >= option->least) &&
                  (option->below ? value < option->most : value <= option->most);
    if (within || !is_bounded(option)) return CR_OK;
    CR_CLEANUP(cr_buffer_release) struct cr_buffer range = {0};
    CR_TRY(cr_option_append_range(option, &range));
    return cr_fail(CR_INVALID, "%.40s is out of range (%s%s%s)", text, cr_buffer_text(&range),
                   option->hint ? "; " : "", option->hint ? option->hint : "");
}

static bool is_negative(const char *text, bool quoted)
{
    return !quoted && text[0] == '-' && is_whole(text + 1);
}

static enum cr_status read_whole(const char *text, bool quoted, uint64_t *out)
{
    if (is_negative(text, quoted)) return cr_fail(CR_INVALID, "%.40s is below 0", text);
    if (quoted || !is_whole(text))
        return cr_fail(CR_INVALID, "\"%.80s\" is not an integer%s", text, quoted ? " but a string" : "");
    uint64_t value;
    if (!cr_parse_unsigned(text, &value)) return cr_fail(CR_INVALID, "%.40s does not fit into 64 bits", text);
    *out = value;
    return CR_OK;
}

static enum cr_status read_size(const struct cr_option *option, const char *text, bool quoted, size_t *out)
{
    uint64_t value = 0;
    if (is_negative(text, quoted)) CR_TRY(check_range(option, text, -1));
    CR_TRY(read_whole(text, quoted, &value));
    CR_TRY(check_range(option, text, (double)value));
    *out = value;
    return CR_OK;
}

static enum cr_status read_number(const struct cr_option *option, const char *text, bool quoted, double *out)
{
    double value;
    if (quoted || !cr_parse_number(text, &value))
        return cr_fail(CR_INVALID, "\"%.80s\" is not a number%s", text, quoted ? " but a string" : "");
    if (!isfinite(value)) return cr_fail(CR_INVALID, "%.40s is larger than any double", text);
    CR_TRY(check_range(option, text, value));
    *out = value;
    return CR_OK;
}

static enum cr_status read_bool(const char *text, bool quoted, bool *out)
{
    // As in YAML 1.2's core schema; PyYAML writes capitals.
    static const char *const words[] = {"true", "True", "TRUE", "false", "False", "FALSE"};
    enum { WORDS = sizeof words / sizeof *words };
    size_t i = 0;
    while (i < WORDS && strcmp(words[i], text) != 0) i++;
    if (quoted || i == WORDS)
        return cr_fail(CR_INVALID, "\"%.80s\" is neither true nor false%s", text,
                       quoted ? " but a string" : "");
    *out = i < WORDS / 2;
    return CR_OK;
}

static enum cr_status read_choice(const struct cr_option *option, const char *text, int *out)
{
    CR_CLEANUP(cr_buffer_release) struct cr_buffer names = {0};
    for (int i = 0; option->choices[i]; i++) {
        if (strcmp(option->choices[i], text) == 0) {
            *out = i;
            return CR_OK;
        }
        CR_TRY(cr_append_format(&names, "%s%s", i > 0 ? ", " : "", option->choices[i]));
    }
    return cr_fail(CR_INVALID, "\"%.80s\" is none of %s", text, cr_buffer_text(&names));
}

// As in YAML 1.2's core schema.
static bool is_null(const char *text, bool quoted)
{
    static const char *const words[] = {"null", "Null", "NULL", "~"};
    for (size_t i = 0; !quoted && i < sizeof words / sizeof *words; i++)
        if (strcmp(words[i], text) == 0) return true;
    return false;
}

static enum cr_status read_string(const char *text, bool quoted, char **out)
{
    if (!quoted && *text == 0) return cr_fail(CR_INVALID, "no value");
    if (!cr_utf8_valid(cr_slice_of_string(text), NULL)) return cr_fail(CR_INVALID, "invalid UTF-8");
    return cr_copy_string(text, out);
}

enum cr_status cr_option_set_scalar(const struct cr_option *option, const char *text, bool quoted,
                                    void *field)
{
    switch (option->type) {
    case CR_OPTION_BOOL:
        return read_bool(text, quoted, field);
    case CR_OPTION_SIZE:
        return read_size(option, text, quoted, field);
    case CR_OPTION_SEED:
        return read_whole(text, quoted, field);
    case CR_OPTION_NUMBER:
        return read_number(option, text, quoted, field);
    case CR_OPTION_CHOICE:
        return read_choice(option, text, field);
    case CR_OPTION_STRING: {
        char *copy = NULL;
        bool may_lack = !option->required && !option->fallback; // NULL is allowed
        if (may_lack && !quoted && *text == 0) return cr_fail(CR_INVALID, "no value (write null for none)");
        if (!is_null(text, quoted))
            CR_TRY(read_string(text, quoted, &copy));
        else if (!may_lack)
            return cr_fail(CR_INVALID, "a value is required, not null");
        cr_option_release(option, field);
        *(char **)field = copy;
        return CR_OK;
    }
    case CR_OPTION_STRINGS:
    case CR_OPTION_SIZES:
    case CR_OPTION_RECORDS:
        break;
    }
    return cr_fail(CR_INTERNAL, "option %s is not a scalar", option->key);
}

enum cr_status cr_option_add_element(const struct cr_option *option, const char *text, bool quoted,
                                     void *field)
{
    if (option->type == CR_OPTION_SIZES) {
        struct cr_size_list *list = field;
        size_t value = 0;
        CR_TRY(read_size(option, text, quoted, &value));
        CR_TRY(cr_reallocate(list->count + 1, sizeof *list->items, &list->items));
        list->items[list->count++] = value;
        return CR_OK;
    }
    struct cr_string_list *list = field;
    if (is_null(text, quoted)) return cr_fail(CR_INVALID, "null is not a string");
    CR_FREE char *copy = NULL;
    CR_TRY(read_string(text, quoted, &copy));
    CR_TRY(cr_reallocate(list->count + 1, sizeof *list->items, &list->items));
    list->items[list->count++] = copy;
    copy = NULL;
    return CR_OK;
}

enum cr_status cr_option_add_record(const struct cr_option *option, struct cr_record_list *list,
                                    void **record)
{
    size_t size = option->records->struct_size;
    CR_TRY(cr_reallocate(list->count + 1, size, &list->items));
    *record = (char *)list->items + list->count * size;
    memset(*record, 0, size);
    list->count++;
    return CR_OK;
}

enum cr_status cr_string_list_copy(const struct cr_string_list *list, struct cr_string_list *out)
{
    struct cr_string_list copy = {0};
    CR_TRY(cr_allocate(list->count, sizeof *copy.items, &copy.items));
    for (; copy.count < list->count; copy.count++) {
        enum cr_status status = cr_copy_string(list->items[copy.count], &copy.items[copy.count]);
        if (status == CR_OK) continue;
        cr_string_list_release(&copy);
        return status;
    }
    *out = copy;
    return CR_OK;
}

enum cr_status cr_size_list_copy(const struct cr_size_list *list, struct cr_size_list *out)
{
    struct cr_size_list copy = {.count = list->count};
    CR_TRY(cr_allocate(list->count, sizeof *copy.items, &copy.items));
    if (list->count > 0) memcpy(copy.items, list->items, list->count * sizeof *copy.items);
    *out = copy;
    return CR_OK;
}

void cr_string_list_release(struct cr_string_list *list)
{
    for (size_t i = 0; i < list->count; i++) free(list->items[i]);
    free(list->items);
    *list = (struct cr_string_list){0};
}

void cr_size_list_release(struct cr_size_list *list)
{
    free(list->items);
    *list = (struct cr_size_list){0};
}

void cr_option_release(const struct cr_option *option, void *field)
{
    switch (option->type) {
    case CR_OPTION_STRING:
        cr_free(field);
        break;
    case CR_OPTION_STRINGS:
        cr_string_list_release(field);
        break;
    case CR_OPTION_SIZES:
        cr_size_list_release(field);
        break;
    case CR_OPTION_RECORDS: {
        struct cr_record_list *list = field;
        for (size_t i = 0; i < list->count; i++)
            cr_options_release(option->records, (char *)list->items + i * option->records->struct_size);
        free(list->items);
        *list = (struct cr_record_list){0};
        break;
    }
    case CR_OPTION_BOOL:
    case CR_OPTION_SIZE:
    case CR_OPTION_SEED:
    case CR_OPTION_NUMBER:
    case CR_OPTION_CHOICE:
        break;
    }
}

static const char *last_part(const char *path)
{
    const char *dot = strrchr(path, '.');
    return dot ? dot + 1 : path;
}

enum cr_status cr_option_fail_unknown(const struct cr_option_table *table, const char *prefix,
                                      const char *path)
{
    const char *nearest = NULL;
    size_t least = SIZE_MAX, length = 0;
    for (size_t i = 0; i < table->count; i++) {
        const char *key = table->options[i].key;
        char section[64] = "";
        size_t to_dot = strcspn(key, ".");
        if (key[to_dot] && to_dot < sizeof section) memcpy(section, key, to_dot);
        if (section[0] && cr_edit_distance(path, section) < least) {
            least = cr_edit_distance(path, section);
            nearest = key;
            length = to_dot;
        }
        // The right name in a wrong section counts as one edit.
        size_t whole = cr_edit_distance(path, key), part = cr_edit_distance(last_part(path), last_part(key));
        if (part < SIZE_MAX) part++;
        const char *alias = table->options[i].alias;
        if (alias && strcmp(last_part(path), alias) == 0) part = 0;
        if (cr_least(whole, part) < least) {
            least = cr_least(whole, part);
            nearest = key;
            length = strlen(key);
        }
    }
    if (nearest && least <= cr_near_enough(last_part(path)))
        return cr_fail(CR_INVALID, "%sunknown key \"%.80s\" (did you mean \"%.*s\"?)", prefix, path,
                       (int)length, nearest);
    return cr_fail(CR_INVALID, "%sunknown key \"%.80s\"", prefix, path);
}
