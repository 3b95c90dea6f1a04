// Numbers and texts as people read them.
#ifndef CARREL_BASE_WORDS_H
#define CARREL_BASE_WORDS_H

#include "base/bytes.h"

enum cr_status cr_append_count(struct cr_buffer *out, double number); // rounded: "1,234,567"
// "1.0213"; "1.02" where it was told with two decimals only, as a federation with slicing tells it.
enum cr_status cr_append_loss(struct cr_buffer *out, double loss);
enum cr_status cr_append_duration(struct cr_buffer *out,
                                  double seconds); // "4.2 s", "3 min 07 s", "5 h 12 min"

// What a word for so many things ends in: "s", and of one nothing.
const char *cr_plural(size_t count);

// Text from elsewhere, without what moves a terminal's cursor: control characters, ends of lines among them,
// become question marks.
enum cr_status cr_append_plain(struct cr_buffer *out, const char *text);

// The same in place.
void cr_make_plain(char *text);

#endif
