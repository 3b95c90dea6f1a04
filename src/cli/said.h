// What `carrel inspect` and `carrel job show` say, a line or a member of one JSON object each, as it goes.
#ifndef CARREL_CLI_SAID_H
#define CARREL_CLI_SAID_H

#include "format/options.h"

// Zero-initialise it, but for `json`.
struct cr_said {
    bool json;
    struct cr_buffer out;
};

void cr_said_release(struct cr_said *said);

// A text within what is said: a JSON string, or the text without what moves a terminal's cursor.
enum cr_status cr_said_append(struct cr_said *said, const char *text);

// `key` is the member's; a line has spaces for its underscores.
enum cr_status cr_say_text(struct cr_said *said, const char *key, const char *text);
enum cr_status cr_say_number(struct cr_said *said, const char *key, double number);
enum cr_status cr_say_count(struct cr_said *said, const char *key, size_t count);
enum cr_status cr_say_bool(struct cr_said *said, const char *key, bool value);
enum cr_status cr_say_list(struct cr_said *said, const char *key, const struct cr_string_list *list);
enum cr_status cr_say_sizes(struct cr_said *said, const char *key, const struct cr_size_list *list);

#endif
