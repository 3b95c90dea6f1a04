#include "base/parse.h"

#include "base/memory.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { LONGEST_NAME = 96 };

static const char digits[] = "0123456789";

bool cr_parse_unsigned(const char *text, uint64_t *out)
{
    size_t length = strspn(text, digits);
    if (length == 0 || text[length] != 0) return false;
    errno = 0;
    unsigned long long value = strtoull(text, NULL, 10);
    if (errno != 0) return false;
    *out = value;
    return true;
}

static bool is_number(const char *text)
{
    if (*text == '-') text++;
    size_t length = strspn(text, digits);
    if (length == 0 || (length > 1 && text[0] == '0')) return false;
    text += length;
    if (*text == '.') {
        length = strspn(++text, digits);
        if (length == 0) return false;
        text += length;
    }
    if (*text == 'e' || *text == 'E') {
        text++;
        if (*text == '+' || *text == '-') text++;
        length = strspn(text, digits);
        if (length == 0) return false;
        text += length;
    }
    return *text == 0;
}

bool cr_parse_number(const char *text, double *out)
{
    if (!is_number(text)) return false;
    *out = strtod(text, NULL);
    return true;
}

bool cr_parse_duration(const char *text, double *seconds)
{
    static const struct {
        char unit;
        double seconds;
    } units[] = {{'s', 1}, {'m', 60}, {'h', 3600}, {'d', 86400}};
    size_t length = strlen(text);
    for (size_t i = 0; length > 1 && length < 32 && i < sizeof units / sizeof *units; i++) {
        if (text[length - 1] != units[i].unit) continue;
        char number[32];
        uint64_t count;
        memcpy(number, text, length - 1);
        number[length - 1] = 0;
        if (!cr_parse_unsigned(number, &count)) return false;
        *seconds = (double)count * units[i].seconds;
        return true;
    }
    return false;
}

bool cr_ends_with(const char *text, const char *end)
{
    size_t size = strlen(text), length = strlen(end);
    return size >= length && strcmp(text + size - length, end) == 0;
}

size_t cr_edit_distance(const char *a, const char *b)
{
    size_t a_length = strlen(a), b_length = strlen(b);
    if (a_length > LONGEST_NAME || b_length > LONGEST_NAME) return SIZE_MAX;
    size_t row[LONGEST_NAME + 1];
    for (size_t j = 0; j <= b_length; j++) row[j] = j;
    for (size_t i = 1; i <= a_length; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= b_length; j++) {
            size_t above = row[j];
            size_t replaced = diagonal + (a[i - 1] != b[j - 1]);
            row[j] = cr_least(replaced, cr_least(above, row[j - 1]) + 1);
            diagonal = above;
        }
    }
    return row[b_length];
}

size_t cr_near_enough(const char *name)
{
    return 1 + strlen(name) / 3;
}

const char *cr_nearest_name(const char *name, const char *const *candidates, size_t count)
{
    const char *nearest = NULL;
    size_t least = cr_near_enough(name) + 1;
    for (size_t i = 0; i < count; i++) {
        size_t distance = cr_edit_distance(name, candidates[i]);
        if (distance < least) {
            least = distance;
            nearest = candidates[i];
        }
    }
    return nearest;
}
