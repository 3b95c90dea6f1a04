// Unicode: writing UTF-8, the character classes that tokenizers use, normal forms.
#ifndef CARREL_TEXT_UNICODE_H
#define CARREL_TEXT_UNICODE_H

#include "base/bytes.h"

#include <stdint.h>

// Encodes a character (at most U+10FFFF) as UTF-8 and returns its size in bytes, 1 to 4.
size_t cr_utf8_put(uint32_t character, unsigned char out[4]);
enum cr_status cr_utf8_append(struct cr_buffer *out, uint32_t character);

// Appends any bytes as UTF-8: each maximal ill-formed part becomes one U+FFFD (Unicode 3.9, table 3-8), as
// Rust's from_utf8_lossy does.
enum cr_status cr_utf8_append_lossy(struct cr_buffer *out, struct cr_slice bytes);

bool cr_unicode_space(uint32_t character); // White_Space
bool cr_unicode_gap(uint32_t character);   // white space for Python's str.split and str.strip
bool cr_unicode_word(uint32_t character);  // matched by \w of Rust's regex

enum cr_normal_form { CR_NFC, CR_NFD, CR_NFKC, CR_NFKD };

// Appends valid UTF-8 converted to the normal form, or with each character's full lower-case mapping
// (regardless of context). Takes O(n log n) for any text.
enum cr_status cr_unicode_normalize(struct cr_slice text, enum cr_normal_form form, struct cr_buffer *out);
enum cr_status cr_unicode_lowercase(struct cr_slice text, struct cr_buffer *out);

// The part of the text (valid UTF-8) that Python's str.strip leaves.
struct cr_slice cr_text_strip(struct cr_slice text);

// Appends `text` with every occurrence of `pattern` replaced by `content`; an empty pattern never occurs.
// Stops once `out` holds more than `limit` bytes; the caller then refuses it.
enum cr_status cr_text_replace(struct cr_slice text, struct cr_slice pattern, struct cr_slice content,
                               size_t limit, struct cr_buffer *out);

// The limit for what a tokenizer's steps may make of a text of `size` bytes. A chain of replacements could
// grow it without bound; the worst normal form makes it 11 times longer.
size_t cr_text_growth_limit(size_t size);

#endif
