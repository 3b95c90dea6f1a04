// The output of `carrel inspect` and `carrel job show`: each fact is a line, or a member of one JSON object.
#ifndef CARREL_CLI_SAID_H
#define CARREL_CLI_SAID_H

#include "format/options.h"

// Zero-initialise all but `json`.
struct cr_said {
    bool json;
    struct cr_buffer out;
};

void cr_said_release(struct cr_said *said);

// Appends a text: as a JSON string, or with control characters replaced.
enum cr_status cr_said_append(struct cr_said *said, const char *text);

// `key` is the member's name; in a line its underscores become spaces.
enum cr_status cr_say_text(struct cr_said *said, const char *key, const char *text);
enum cr_status cr_say_number(struct cr_said *said, const char *key, double number);
enum cr_status cr_say_count(struct cr_said *said, const char *key, size_t count);
enum cr_status cr_say_bool(struct cr_said *said, const char *key, bool value);
enum cr_status cr_say_list(struct cr_said *said, const char *key, const struct cr_string_list *list);
enum cr_status cr_say_sizes(struct cr_said *said, const char *key, const struct cr_size_list *list);

#endif
