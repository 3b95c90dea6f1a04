// What a command line sets, and what is said of where a setting came from.
#include "format/option_value.h"
#include "format/options.h"

#include <stdlib.h>
#include <string.h>

static const size_t from_command_line = SIZE_MAX; // for a line

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

enum cr_status cr_options_append_place(const struct cr_option_table *table, const char *name,
                                       const size_t *lines, const char *key, struct cr_buffer *out)
{
    size_t line = lines[cr_option_find(table, key) - table->options];
    if (line == from_command_line) return cr_append_format(out, "--set: %s", key);
    if (line == 0) return cr_append_format(out, "%s: %s", name, key);
    return cr_append_format(out, "%s:%zu: %s", name, line, key);
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
