// Settings from a command line, and the checks and messages that depend on where a setting was given.
#include "format/option_value.h"
#include "format/options.h"

#include <string.h>

static const size_t from_command_line = SIZE_MAX; // in place of a line number

enum cr_status cr_options_override(const struct cr_option_table *table, void *config, const char *setting,
                                   size_t *lines)
{
    const char *equals = strchr(setting, '=');
    if (!equals || equals == setting)
        return cr_fail(CR_INVALID, "--set: \"%.80s\" is not KEY=VALUE (lora.r=16, say)", setting);
    CR_FREE char *key = strndup(setting, (size_t)(equals - setting));
    if (!key) return cr_fail(CR_NO_MEMORY, "out of memory");
    enum cr_status status = cr_options_set(table, config, key, equals + 1);
    if (status != CR_OK) return cr_fail_within(status, "--set");
    lines[cr_option_find(table, key) - table->options] = from_command_line;
    return CR_OK;
}

bool cr_options_given(const struct cr_option_table *table, const size_t *lines, const char *key)
{
    return lines[cr_option_find(table, key) - table->options] > 0;
}

enum cr_status cr_options_append_place(const struct cr_option_table *table, const char *name,
                                       const size_t *lines, const char *key, struct cr_buffer *out)
{
    size_t line = lines[cr_option_find(table, key) - table->options];
    if (line == from_command_line) return cr_append_format(out, "--set: %s", key);
    if (line == 0) return cr_append_format(out, "%s: %s", name, key);
    return cr_append_format(out, "%s:%zu: %s", name, line, key);
}

// What is wrong with a path, or NULL.
static const char *fault_of_path(const struct cr_option *option, const void *config)
{
    if (!option->path) return NULL;
    const char *path = *(char *const *)cr_option_field_const(option, config);
    if (path && *path == 0) return "empty";
    return path && *path == '~' ? "the shell's ~ is not expanded here: write the path out" : NULL;
}

static enum cr_status check_records(const struct cr_option *option, const struct cr_record_list *list,
                                    const char *place)
{
    const struct cr_option_table *table = option->records;
    for (size_t i = 0; i < list->count; i++)
        for (size_t j = 0; j < table->count; j++) {
            const void *record = (const char *)list->items + i * table->struct_size;
            const char *fault = fault_of_path(&table->options[j], record);
            if (fault) return cr_fail(CR_INVALID, "%s[%zu].%s: %s", place, i, table->options[j].key, fault);
        }
    return CR_OK;
}

enum cr_status cr_options_check_paths(const struct cr_option_table *table, const void *config,
                                      const char *name, const size_t *lines)
{
    for (size_t i = 0; i < table->count; i++) {
        const struct cr_option *option = &table->options[i];
        CR_CLEANUP(cr_buffer_release) struct cr_buffer place = {0};
        CR_TRY(cr_options_append_place(table, name, lines, option->key, &place));
        const char *fault = fault_of_path(option, config);
        if (fault) return cr_fail(CR_INVALID, "%s: %s", cr_buffer_text(&place), fault);
        if (option->type == CR_OPTION_RECORDS)
            CR_TRY(check_records(option, cr_option_field_const(option, config), cr_buffer_text(&place)));
    }
    return CR_OK;
}

enum cr_status cr_options_check(const struct cr_option_table *table, const void *config, const char *name,
                                const size_t *lines)
{
    for (size_t i = 0; i < table->count; i++) {
        const struct cr_option *option = &table->options[i];
        if (lines[i] == 0 || !option->useful || option->useful(config)) continue;
        CR_CLEANUP(cr_buffer_release) struct cr_buffer place = {0};
        CR_TRY(cr_options_append_place(table, name, lines, option->key, &place));
        return cr_fail(CR_INVALID, "%s: only with %s", cr_buffer_text(&place), option->with);
    }
    return CR_OK;
}
