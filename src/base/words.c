#include "base/words.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static void group(const char *digits, char *out)
{
    for (size_t left = strlen(digits); left-- > 0; digits++) {
        *out++ = *digits;
        if (*digits >= '0' && *digits <= '9' && left > 0 && left % 3 == 0) *out++ = ',';
    }
    *out = 0;
}

enum cr_status cr_append_count(struct cr_buffer *out, double number)
{
    char digits[320], grouped[2 * sizeof digits];
    snprintf(digits, sizeof digits, "%.0f", number);
    group(digits, grouped);
    return cr_append(out, grouped, strlen(grouped));
}

const char *cr_count_text(size_t count, char out[CR_COUNT_SIZE])
{
    char digits[CR_COUNT_SIZE];
    snprintf(digits, sizeof digits, "%zu", count);
    group(digits, out);
    return out;
}

enum cr_status cr_append_loss(struct cr_buffer *out, double loss)
{
    bool rounded = fabs(100 * loss - rint(100 * loss)) < 1e-9;
    return cr_append_format(out, "%.*f", rounded ? 2 : 4, loss);
}

enum cr_status cr_append_duration(struct cr_buffer *out, double seconds)
{
    if (!(seconds >= 0 && seconds < 1e12)) return cr_append_u8(out, '?');
    unsigned long whole = (unsigned long)seconds;
    if (seconds < 59.95) return cr_append_format(out, "%.1f s", seconds);
    if (seconds < 60) whole = 60; // avoids "60.0 s"
    if (whole < 3600) return cr_append_format(out, "%lu min %02lu s", whole / 60, whole % 60);
    return cr_append_format(out, "%lu h %02lu min", whole / 3600, whole / 60 % 60);
}

const char *cr_plural(size_t count)
{
    return count == 1 ? "" : "s";
}

void cr_make_plain(char *text)
{
    unsigned char *to = (unsigned char *)text;
    for (const unsigned char *at = to; *at; at++) {
        bool c1 = at[0] == 0xc2 && at[1] >= 0x80 && at[1] < 0xa0; // a C1 control character in UTF-8
        bool control = c1 || *at < 0x20 || *at == 0x7f;
        *to++ = control ? '?' : *at;
        at += c1;
    }
    *to = 0;
}

enum cr_status cr_append_plain(struct cr_buffer *out, const char *text)
{
    size_t at = out->size;
    CR_TRY(cr_append(out, text, strlen(text)));
    if (out->size == at) return CR_OK;
    cr_make_plain((char *)out->data + at);
    out->size = at + strlen((const char *)out->data + at);
    return CR_OK;
}
