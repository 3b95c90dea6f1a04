#include "format/json.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum cr_status cr_json_append_told(struct cr_buffer *out, const char *text)
{
    CR_FREE char *copy = NULL;
    CR_TRY(cr_copy_string(text, &copy));
    for (size_t bad_at; !cr_utf8_valid(cr_slice_of_string(copy), &bad_at);) copy[bad_at] = '?';
    return cr_json_append_string(out, cr_slice_of_string(copy));
}

enum cr_status cr_json_append_text(struct cr_buffer *out, const char *key, const char *text)
{
    CR_TRY(cr_append_format(out, ", \"%s\": ", key));
    return cr_json_append_string(out, cr_slice_of_string(text));
}

enum cr_status cr_json_append_hex(struct cr_buffer *out, const char *key, struct cr_slice bytes)
{
    CR_TRY(cr_append_format(out, "\"%s\": ", key));
    return cr_json_append_hex_item(out, 0, bytes);
}

enum cr_status cr_json_append_hex_item(struct cr_buffer *out, size_t i, struct cr_slice bytes)
{
    CR_TRY(cr_append_format(out, "%s\"", i > 0 ? ", " : ""));
    CR_TRY(cr_append_hex(out, bytes));
    return cr_append_u8(out, '"');
}

enum cr_status cr_json_append_string(struct cr_buffer *out, struct cr_slice text)
{
    size_t bad_at;
    if (!cr_utf8_valid(text, &bad_at))
        return cr_fail(CR_INVALID, "a string for JSON is invalid UTF-8 at byte %zu", bad_at);
    // Written to a separate buffer first, so that `out` is unchanged on failure.
    CR_CLEANUP(cr_buffer_release) struct cr_buffer quoted = {0};
    CR_TRY(cr_append_u8(&quoted, '"'));
    size_t plain = 0; // start of the run that needs no escape
    for (size_t i = 0; i < text.size; i++) {
        unsigned char c = text.data[i];
        if (c >= 0x20 && c != '"' && c != '\\') continue;
        CR_TRY(cr_append(&quoted, text.data + plain, i - plain));
        plain = i + 1;
        switch (c) {
        case '"':
            CR_TRY(cr_append(&quoted, "\\\"", 2));
            break;
        case '\\':
            CR_TRY(cr_append(&quoted, "\\\\", 2));
            break;
        case '\n':
            CR_TRY(cr_append(&quoted, "\\n", 2));
            break;
        case '\r':
            CR_TRY(cr_append(&quoted, "\\r", 2));
            break;
        case '\t':
            CR_TRY(cr_append(&quoted, "\\t", 2));
            break;
        default:
            CR_TRY(cr_append_format(&quoted, "\\u%04x", c));
            break;
        }
    }
    if (text.size > plain) CR_TRY(cr_append(&quoted, text.data + plain, text.size - plain));
    CR_TRY(cr_append_u8(&quoted, '"'));
    return cr_append(out, quoted.data, quoted.size);
}

enum cr_status cr_json_append_number(struct cr_buffer *out, double number)
{
    if (!isfinite(number)) return cr_fail(CR_INVALID, "JSON has no way to write %f", number);
    // Uses the smallest precision that reads back unchanged; 17 digits always do.
    char text[32];
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, number);
        if (strtod(text, NULL) == number) break;
    }
    return cr_append(out, text, strlen(text));
}
