#include "cli/said.h"

#include "base/words.h"
#include "format/json.h"

void cr_said_release(struct cr_said *said)
{
    cr_buffer_release(&said->out);
}

static enum cr_status say_key(struct cr_said *said, const char *key)
{
    if (said->json) return cr_append_format(&said->out, "%s\"%s\": ", said->out.size > 0 ? ", " : "{", key);
    size_t at = said->out.size;
    CR_TRY(cr_append_format(&said->out, "%-15s ", key));
    for (; at < said->out.size; at++)
        if (said->out.data[at] == '_') said->out.data[at] = ' ';
    return CR_OK;
}

enum cr_status cr_said_append(struct cr_said *said, const char *text)
{
    return said->json ? cr_json_append_told(&said->out, text) : cr_append_plain(&said->out, text);
}

enum cr_status cr_say_text(struct cr_said *said, const char *key, const char *text)
{
    CR_TRY(say_key(said, key));
    CR_TRY(cr_said_append(said, text));
    return said->json ? CR_OK : cr_append(&said->out, "\n", 1);
}

enum cr_status cr_say_number(struct cr_said *said, const char *key, double number)
{
    CR_TRY(say_key(said, key));
    CR_TRY(cr_json_append_number(&said->out, number));
    return said->json ? CR_OK : cr_append(&said->out, "\n", 1);
}

enum cr_status cr_say_count(struct cr_said *said, const char *key, size_t count)
{
    CR_TRY(say_key(said, key));
    return cr_append_format(&said->out, said->json ? "%zu" : "%zu\n", count);
}

enum cr_status cr_say_bool(struct cr_said *said, const char *key, bool value)
{
    CR_TRY(say_key(said, key));
    const char *word = said->json ? (value ? "true" : "false") : value ? "yes\n" : "no\n";
    return cr_append_format(&said->out, "%s", word);
}

enum cr_status cr_say_list(struct cr_said *said, const char *key, const struct cr_string_list *list)
{
    CR_TRY(say_key(said, key));
    if (said->json) CR_TRY(cr_append(&said->out, "[", 1));
    for (size_t i = 0; i < list->count; i++) {
        if (i > 0) CR_TRY(cr_append(&said->out, ", ", 2));
        CR_TRY(cr_said_append(said, list->items[i]));
    }
    return cr_append_format(&said->out, said->json ? "]" : "\n");
}

enum cr_status cr_say_sizes(struct cr_said *said, const char *key, const struct cr_size_list *list)
{
    CR_TRY(say_key(said, key));
    if (said->json) CR_TRY(cr_append(&said->out, "[", 1));
    for (size_t i = 0; i < list->count; i++)
        CR_TRY(cr_append_format(&said->out, "%s%zu", i > 0 ? ", " : "", list->items[i]));
    return cr_append_format(&said->out, said->json ? "]" : "\n");
}
