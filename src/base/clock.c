#include "base/clock.h"

#include <stddef.h>
#include <time.h>

double cr_clock_monotonic(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

double cr_clock_process(void)
{
    struct timespec used;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
    return (double)used.tv_sec + 1e-9 * (double)used.tv_nsec;
}

double cr_clock_wall(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

int64_t cr_clock_unix(void)
{
    return (int64_t)time(NULL);
}

void cr_clock_format(int64_t unix_seconds, char out[CR_CLOCK_TEXT_SIZE])
{
    time_t seconds = (time_t)unix_seconds;
    struct tm parts;
    if (!gmtime_r(&seconds, &parts) || strftime(out, CR_CLOCK_TEXT_SIZE, "%Y-%m-%dT%H:%M:%SZ", &parts) == 0)
        out[0] = 0;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

// Reads `count` digits at *text and moves *text past them; false if there are fewer, or the number is not
// within [least, most].
static bool read_digits(const char **text, size_t count, int least, int most, int *out)
{
    int number = 0;
    for (size_t i = 0; i < count; i++, ++*text) {
        if (!is_digit(**text)) return false;
        number = 10 * number + (**text - '0');
    }
    *out = number;
    return number >= least && number <= most;
}

static bool read_char(const char **text, const char *one_of)
{
    for (; *one_of; one_of++) {
        if (**text != *one_of) continue;
        ++*text;
        return true;
    }
    return false;
}

// "Z", or an offset from UTC in hours and minutes, either way.
static bool read_offset(const char **text, int *seconds)
{
    *seconds = 0;
    if (read_char(text, "Zz")) return true;
    int sign = **text == '-' ? -1 : 1, hours, minutes;
    if (!read_char(text, "+-") || !read_digits(text, 2, 0, 23, &hours) || !read_char(text, ":") ||
        !read_digits(text, 2, 0, 59, &minutes))
        return false;
    *seconds = sign * (hours * 3600 + minutes * 60);
    return true;
}

bool cr_clock_parse(const char *text, int64_t *unix_seconds)
{
    int year, month, day, hour, minute, second, offset;
    if (!read_digits(&text, 4, 0, 9999, &year) || !read_char(&text, "-") ||
        !read_digits(&text, 2, 1, 12, &month) || !read_char(&text, "-") ||
        !read_digits(&text, 2, 1, 31, &day) || !read_char(&text, "Tt ") ||
        !read_digits(&text, 2, 0, 23, &hour) || !read_char(&text, ":") ||
        !read_digits(&text, 2, 0, 59, &minute) || !read_char(&text, ":") ||
        !read_digits(&text, 2, 0, 59, &second))
        return false;
    if (read_char(&text, ".")) {
        if (!is_digit(*text)) return false;
        while (is_digit(*text)) text++;
    }
    if (!read_offset(&text, &offset) || *text) return false;
    struct tm parts = {.tm_year = year - 1900,
                       .tm_mon = month - 1,
                       .tm_mday = day,
                       .tm_hour = hour,
                       .tm_min = minute,
                       .tm_sec = second};
    int64_t seconds = (int64_t)timegm(&parts);
    if (parts.tm_mday != day) return false; // the month has no such day
    *unix_seconds = seconds - offset;
    return true;
}
