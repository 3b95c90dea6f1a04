// GPT-2's way to write any byte as a printable character: bytes that are printable in Latin-1 stand for
// themselves, the others, in ascending order, are U+0100 and on.
#ifndef CARREL_TEXT_BYTE_LEVEL_H
#define CARREL_TEXT_BYTE_LEVEL_H

#include "base/bytes.h"

#include <stdint.h>

enum { CR_BYTE_LEVEL_END = 0x144 }; // all characters are below this

// GPT-2's regular expression, which cuts a text into words.
#define CR_BYTE_LEVEL_EXPRESSION                                                                             \
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"

int cr_byte_level_byte(uint32_t character); // -1 if it stands for no byte

enum cr_status cr_byte_level_append(struct cr_buffer *out, struct cr_slice bytes);

#endif
