#include "attestation/encoding.h"
#include "crypto/hash.h"
#include "format/json.h"

enum { MOST_LISTED = 1 << 20 };

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

enum cr_status cr_encoding_list(const struct cr_json *list, struct cr_buffer *out, bool *is_one)
{
    size_t count = cr_json_kind(list) == CR_JSON_ARRAY ? cr_json_count(list) : 0;
    *is_one = count > 0 && count <= MOST_LISTED;
    for (size_t i = 0; i < count && *is_one; i++) {
        int64_t number;
        *is_one = cr_json_is_integer(cr_json_at(list, i), &number) && number >= 0 && number <= UINT8_MAX;
        if (*is_one) CR_TRY(cr_append_u8(out, (uint8_t)number));
    }
    return CR_OK;
}

enum cr_status cr_encoding_value(const struct cr_json *value, struct cr_buffer *out)
{
    if (cr_json_kind(value) == CR_JSON_STRING) return cr_encoding_decode(cr_json_string(value), out);
    bool is_one;
    CR_TRY(cr_encoding_list(value, out, &is_one));
    return is_one ? CR_OK : cr_fail(CR_INVALID, "neither text nor a list of bytes");
}
