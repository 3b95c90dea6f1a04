#include "base/bytes.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct cr_slice cr_slice_of_string(const char *text)
{
    return (struct cr_slice){(const unsigned char *)text, strlen(text)};
}

bool cr_slice_equal(struct cr_slice a, struct cr_slice b)
{
    return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

bool cr_slice_is_zero(struct cr_slice bytes)
{
    for (size_t i = 0; i < bytes.size; i++)
        if (bytes.data[i]) return false;
    return true;
}

struct cr_cursor cr_cursor_over(struct cr_slice bytes)
{
    return (struct cr_cursor){.data = bytes.data, .size = bytes.size};
}

size_t cr_cursor_left(const struct cr_cursor *cursor)
{
    return cursor->failed ? 0 : cursor->size - cursor->at;
}

struct cr_slice cr_read_slice(struct cr_cursor *cursor, size_t size)
{
    if (cursor->failed || size > cursor->size - cursor->at) {
        cursor->failed = true;
        return (struct cr_slice){NULL, 0};
    }
    struct cr_slice bytes = {cursor->data + cursor->at, size};
    cursor->at += size;
    return bytes;
}

static uint64_t read_little_endian(struct cr_cursor *cursor, size_t size)
{
    struct cr_slice bytes = cr_read_slice(cursor, size);
    uint64_t value = 0;
    for (size_t i = bytes.size; i-- > 0;) value = value << 8 | bytes.data[i];
    return value;
}

uint8_t cr_read_u8(struct cr_cursor *cursor)
{
    return (uint8_t)read_little_endian(cursor, 1);
}

uint16_t cr_read_u16(struct cr_cursor *cursor)
{
    return (uint16_t)read_little_endian(cursor, 2);
}

uint32_t cr_read_u32(struct cr_cursor *cursor)
{
    return (uint32_t)read_little_endian(cursor, 4);
}

uint64_t cr_read_u64(struct cr_cursor *cursor)
{
    return read_little_endian(cursor, 8);
}

uint64_t cr_read_big_endian(struct cr_cursor *cursor, size_t size)
{
    struct cr_slice bytes = cr_read_slice(cursor, size);
    uint64_t value = 0;
    for (size_t i = 0; i < bytes.size; i++) value = value << 8 | bytes.data[i];
    return value;
}

void cr_buffer_release(struct cr_buffer *buffer)
{
    free(buffer->data);
    *buffer = (struct cr_buffer){0};
}

void cr_buffer_wipe(struct cr_buffer *buffer)
{
    if (buffer->data) cr_wipe(buffer->data, buffer->capacity);
    cr_buffer_release(buffer);
}

void cr_buffer_clear(struct cr_buffer *buffer)
{
    buffer->size = 0;
    if (buffer->data) buffer->data[0] = 0;
}

static enum cr_status make_room(struct cr_buffer *buffer, size_t more)
{
    size_t needed;
    if (__builtin_add_overflow(buffer->size, more, &needed) || __builtin_add_overflow(needed, 1, &needed))
        return cr_fail(CR_NO_MEMORY, "out of memory: a buffer of %zu more bytes", more);
    if (needed <= buffer->capacity) return CR_OK;
    size_t capacity = needed > SIZE_MAX / 2 ? needed : needed + needed / 2;
    unsigned char *data;
    CR_TRY(cr_allocate(capacity, 1, &data));
    if (buffer->data) {
        memcpy(data, buffer->data, buffer->size);
        cr_wipe(buffer->data, buffer->capacity); // the old block may hold a secret (cr_buffer_wipe)
        free(buffer->data);
    }
    buffer->data = data;
    buffer->capacity = capacity;
    return CR_OK;
}

enum cr_status cr_append(struct cr_buffer *buffer, const void *bytes, size_t size)
{
    CR_TRY(make_room(buffer, size));
    if (size > 0) memcpy(buffer->data + buffer->size, bytes, size);
    buffer->size += size;
    buffer->data[buffer->size] = 0;
    return CR_OK;
}

static enum cr_status append_little_endian(struct cr_buffer *buffer, uint64_t value, size_t size)
{
    unsigned char bytes[8];
    for (size_t i = 0; i < size; i++) bytes[i] = (unsigned char)(value >> (8 * i));
    return cr_append(buffer, bytes, size);
}

enum cr_status cr_append_u8(struct cr_buffer *buffer, uint8_t value)
{
    return append_little_endian(buffer, value, 1);
}

enum cr_status cr_append_u16(struct cr_buffer *buffer, uint16_t value)
{
    return append_little_endian(buffer, value, 2);
}

enum cr_status cr_append_u32(struct cr_buffer *buffer, uint32_t value)
{
    return append_little_endian(buffer, value, 4);
}

enum cr_status cr_append_u64(struct cr_buffer *buffer, uint64_t value)
{
    return append_little_endian(buffer, value, 8);
}

enum cr_status cr_append_format(struct cr_buffer *buffer, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    if (length < 0) return cr_fail(CR_INTERNAL, "text could not be formatted: \"%s\"", format);
    CR_TRY(make_room(buffer, (size_t)length));
    va_start(arguments, format);
    vsnprintf((char *)buffer->data + buffer->size, (size_t)length + 1, format, arguments);
    va_end(arguments);
    buffer->size += (size_t)length;
    return CR_OK;
}

enum cr_status cr_append_words(struct cr_buffer *buffer, const char *text, size_t column, size_t width,
                               const char *margin)
{
    bool begun = false;
    for (const char *word = text + strspn(text, " \n"); *word; word += strspn(word, " \n")) {
        size_t length = strcspn(word, " \n");
        if (begun && column + 1 + length > width) {
            CR_TRY(cr_append_format(buffer, "\n%s", margin));
            column = strlen(margin);
            begun = false;
        }
        CR_TRY(cr_append_format(buffer, "%s%.*s", begun ? " " : "", (int)length, word));
        column += length + (begun ? 1 : 0);
        begun = true;
        word += length;
    }
    return CR_OK;
}

struct cr_slice cr_buffer_slice(const struct cr_buffer *buffer)
{
    return (struct cr_slice){buffer->data, buffer->size};
}

const char *cr_buffer_text(const struct cr_buffer *buffer)
{
    return buffer->data ? (const char *)buffer->data : "";
}

void cr_hex_encode(struct cr_slice bytes, char *out)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < bytes.size; i++) {
        out[2 * i] = digits[bytes.data[i] >> 4];
        out[2 * i + 1] = digits[bytes.data[i] & 15];
    }
    out[2 * bytes.size] = 0;
}

enum cr_status cr_append_hex(struct cr_buffer *buffer, struct cr_slice bytes)
{
    CR_TRY(make_room(buffer, 2 * bytes.size));
    cr_hex_encode(bytes, (char *)buffer->data + buffer->size);
    buffer->size += 2 * bytes.size;
    return CR_OK;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

enum cr_status cr_hex_decode(const char *text, unsigned char *out, size_t size)
{
    if (strlen(text) != 2 * size) return cr_fail(CR_INVALID, "expected %zu hexadecimal digits", 2 * size);
    for (size_t i = 0; i < 2 * size; i++)
        if (hex_digit(text[i]) < 0) return cr_fail(CR_INVALID, "character %zu is no hexadecimal digit", i);
    for (size_t i = 0; i < size; i++)
        out[i] = (unsigned char)(hex_digit(text[2 * i]) << 4 | hex_digit(text[2 * i + 1]));
    return CR_OK;
}

bool cr_utf8_valid(struct cr_slice bytes, size_t *bad_at)
{
    size_t i = 0;
    while (i < bytes.size) {
        unsigned char lead = bytes.data[i];
        size_t more = lead < 0x80 ? 0 : lead >= 0xc2 && lead < 0xe0 ? 1 : (lead & 0xf0) == 0xe0 ? 2 : 3;
        bool good = lead < 0x80 || (lead >= 0xc2 && lead <= 0xf4);
        if (good && more > bytes.size - i - 1) good = false;
        for (size_t k = 1; good && k <= more; k++) good = (bytes.data[i + k] & 0xc0) == 0x80;
        if (good && more > 1) {
            unsigned char next = bytes.data[i + 1];
            // Overlong forms, surrogates, and code points beyond U+10FFFF are recognised by the second byte.
            good = !(lead == 0xe0 && next < 0xa0) && !(lead == 0xed && next >= 0xa0) &&
                   !(lead == 0xf0 && next < 0x90) && !(lead == 0xf4 && next >= 0x90);
        }
        if (!good) {
            if (bad_at) *bad_at = i;
            return false;
        }
        i += more + 1;
    }
    return true;
}

struct cr_slice cr_utf8_unmarked(struct cr_slice text)
{
    bool marked = text.size >= 3 && memcmp(text.data, "\xef\xbb\xbf", 3) == 0;
    return marked ? (struct cr_slice){text.data + 3, text.size - 3} : text;
}

uint32_t cr_utf8_next(const unsigned char **at)
{
    const unsigned char *p = *at;
    uint32_t c = p[0];
    if (c < 0x80) {
        *at = p + 1;
        return c;
    }
    size_t more = c < 0xe0 ? 1 : c < 0xf0 ? 2 : 3;
    c &= 0x3fu >> more;
    for (size_t k = 1; k <= more; k++) c = c << 6 | (p[k] & 0x3fu);
    *at = p + more + 1;
    return c;
}
