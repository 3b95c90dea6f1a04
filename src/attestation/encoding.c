#include "attestation/encoding.h"
#include "crypto/hash.h"

#include <string.h>

static bool is_space(unsigned char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static bool is_hex(unsigned char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

enum cr_status cr_encoding_decode(struct cr_slice text, struct cr_buffer *out)
{
    CR_CLEANUP(cr_buffer_release) struct cr_buffer digits = {0};
    bool hex = true;
    size_t end = text.size;
    while (end > 0 && (is_space(text.data[end - 1]) || text.data[end - 1] == '=')) {
        hex = hex && text.data[end - 1] != '=';
        end--;
    }
    for (size_t i = 0; i < end; i++) {
        unsigned char c = text.data[i];
        if (is_space(c)) continue;
        hex = hex && is_hex(c);
        CR_TRY(cr_append_u8(&digits, c == '+' ? '-' : c == '/' ? '_' : c));
    }
    if (digits.size == 0) return cr_fail(CR_INVALID, "no text");
    if (!hex || digits.size % 2) return cr_base64url_decode(cr_buffer_slice(&digits), out);
    CR_FREE unsigned char *bytes = NULL;
    CR_TRY(cr_allocate(digits.size / 2, 1, &bytes));
    CR_TRY(cr_hex_decode(cr_buffer_text(&digits), bytes, digits.size / 2));
    return cr_append(out, bytes, digits.size / 2);
}
