// Numbers and texts formatted for people.
#ifndef CARREL_BASE_WORDS_H
#define CARREL_BASE_WORDS_H

#include "base/bytes.h"

enum cr_status cr_append_count(struct cr_buffer *out, double number); // rounded: "1,234,567"
// The same, written to `out`, which is returned.
enum { CR_COUNT_SIZE = 28 };
const char *cr_count_text(size_t count, char out[CR_COUNT_SIZE]);
// "1.0213"; "1.02" if the value has only two decimals, as losses of a federation with slicing do.
enum cr_status cr_append_loss(struct cr_buffer *out, double loss);
enum cr_status cr_append_duration(struct cr_buffer *out,
                                  double seconds); // "4.2 s", "3 min 07 s", "5 h 12 min"

// The plural's ending: "" for one, else "s".
const char *cr_plural(size_t count);

// Appends text from outside with each control character (line breaks included) replaced by a question mark,
// so that it cannot control a terminal.
enum cr_status cr_append_plain(struct cr_buffer *out, const char *text);

// The same in place.
void cr_make_plain(char *text);

#endif
