// A cursor that reads untrusted bytes and never passes their end, and a buffer that grows as bytes are
// appended. Integers are little-endian unless the name says otherwise.
#ifndef CARREL_BASE_BYTES_H
#define CARREL_BASE_BYTES_H

#include "base/memory.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// A borrowed view: somebody else owns the bytes.
struct cr_slice {
    const unsigned char *data;
    size_t size;
};

struct cr_slice cr_slice_of_string(const char *text); // without the final zero
bool cr_slice_equal(struct cr_slice a, struct cr_slice b);
bool cr_slice_is_zero(struct cr_slice bytes); // whether every byte is zero; true of an empty slice

// Reads front to back. A read past the end sets `failed`, returns zeros, and every later read fails too, so a
// parser may read a whole header and check once.
struct cr_cursor {
    const unsigned char *data;
    size_t size;
    size_t at;
    bool failed;
};

struct cr_cursor cr_cursor_over(struct cr_slice bytes);
size_t cr_cursor_left(const struct cr_cursor *cursor);
uint8_t cr_read_u8(struct cr_cursor *cursor);
uint16_t cr_read_u16(struct cr_cursor *cursor);
uint32_t cr_read_u32(struct cr_cursor *cursor);
uint64_t cr_read_u64(struct cr_cursor *cursor);
uint64_t cr_read_big_endian(struct cr_cursor *cursor, size_t size);   // of at most 8 bytes
struct cr_slice cr_read_slice(struct cr_cursor *cursor, size_t size); // {NULL, 0} past the end

// A growing buffer. Zero-initialise it; release it with cr_buffer_release (usable with CR_CLEANUP). data is
// always followed by a zero byte once anything was appended, so text in it is a C string.
struct cr_buffer {
    unsigned char *data;
    size_t size;
    size_t capacity;
};

void cr_buffer_release(struct cr_buffer *buffer);
void cr_buffer_wipe(struct cr_buffer *buffer);  // the same, and wipes the contents first
void cr_buffer_clear(struct cr_buffer *buffer); // keeps the memory
enum cr_status cr_append(struct cr_buffer *buffer, const void *bytes, size_t size);
enum cr_status cr_append_u8(struct cr_buffer *buffer, uint8_t value);
enum cr_status cr_append_u16(struct cr_buffer *buffer, uint16_t value);
enum cr_status cr_append_u32(struct cr_buffer *buffer, uint32_t value);
enum cr_status cr_append_u64(struct cr_buffer *buffer, uint64_t value);
enum cr_status cr_append_format(struct cr_buffer *buffer, const char *format, ...) CR_PRINTF(2, 3);
// Appends the words of a text, wrapped at `width` columns: words are separated by one space, or by a line
// break followed by `margin`. Only a word that is longer than a line exceeds `width`. `column` is the number
// of characters that the current line already has.
enum cr_status cr_append_words(struct cr_buffer *buffer, const char *text, size_t column, size_t width,
                               const char *margin);
struct cr_slice cr_buffer_slice(const struct cr_buffer *buffer);
const char *cr_buffer_text(const struct cr_buffer *buffer); // "" when nothing was appended

// Lower-case hex, written to `out` (2·size + 1 characters) or appended to a buffer, and its decoding:
// CR_INVALID unless the text is exactly 2·size hex digits.
void cr_hex_encode(struct cr_slice bytes, char *out);
enum cr_status cr_append_hex(struct cr_buffer *buffer, struct cr_slice bytes);
enum cr_status cr_hex_decode(const char *text, unsigned char *out, size_t size);

// True if the bytes are well-formed UTF-8 (no surrogates, no overlong forms, at most U+10FFFF); otherwise
// *bad_at (may be NULL) is set to the offset of the first wrong byte.
bool cr_utf8_valid(struct cr_slice bytes, size_t *bad_at);

// The text without its leading byte order mark, if it has one.
struct cr_slice cr_utf8_unmarked(struct cr_slice text);

// Returns the code point that starts at *at, in valid UTF-8, and moves *at past it.
uint32_t cr_utf8_next(const unsigned char **at);

#endif
