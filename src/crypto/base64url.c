#include "crypto/hash.h"

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

enum cr_status cr_base64url_append(struct cr_buffer *out, struct cr_slice bytes)
{
    CR_CLEANUP(cr_buffer_wipe) struct cr_buffer text = {0};
    for (size_t at = 0; at < bytes.size; at += 3) {
        size_t left = bytes.size - at, taken = left < 3 ? left : 3;
        uint32_t group = 0;
        for (size_t i = 0; i < taken; i++) group |= (uint32_t)bytes.data[at + i] << (16 - 8 * i);
        char digits[4];
        for (size_t i = 0; i < 4; i++) digits[i] = alphabet[group >> (18 - 6 * i) & 63];
        CR_TRY(cr_append(&text, digits, taken + 1));
    }
    return cr_append(out, text.data, text.size);
}

static int digit_value(unsigned char c)
{
    if (c >= 'A' && c <= 'Z') return c - 'A';
    if (c >= 'a' && c <= 'z') return c - 'a' + 26;
    if (c >= '0' && c <= '9') return c - '0' + 52;
    return c == '-' ? 62 : c == '_' ? 63 : -1;
}

enum cr_status cr_base64url_decode(struct cr_slice text, struct cr_buffer *out)
{
    if (text.size % 4 == 1) return cr_fail(CR_INVALID, "base64url text of an impossible length");
    CR_CLEANUP(cr_buffer_wipe) struct cr_buffer bytes = {0};
    for (size_t at = 0; at < text.size; at += 4) {
        size_t left = text.size - at, taken = left < 4 ? left : 4;
        uint32_t group = 0;
        for (size_t i = 0; i < taken; i++) {
            int value = digit_value(text.data[at + i]);
            if (value < 0) return cr_fail(CR_INVALID, "character %zu is not of base64url", at + i);
            group |= (uint32_t)value << (18 - 6 * i);
        }
        // Bits beyond the last byte must be zero, so that every value has one text only.
        if (group & (0xffffffu >> (8 * (taken - 1))))
            return cr_fail(CR_INVALID, "base64url text with bits past its end");
        for (size_t i = 0; i + 1 < taken; i++) CR_TRY(cr_append_u8(&bytes, (uint8_t)(group >> (16 - 8 * i))));
    }
    return cr_append(out, bytes.data, bytes.size);
}
