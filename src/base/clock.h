// Clocks. Times of different clocks are never mixed.
#ifndef CARREL_BASE_CLOCK_H
#define CARREL_BASE_CLOCK_H

#include <stdbool.h>
#include <stdint.h>

double cr_clock_monotonic(void); // seconds since some moment in the past; never jumps
double cr_clock_process(void);   // CPU seconds used by all threads of this process
int64_t cr_clock_unix(void);     // seconds since 1970-01-01T00:00:00Z
double cr_clock_wall(void);      // the same, with fractions of a second

enum { CR_CLOCK_TEXT_SIZE = 21 }; // "2026-01-02T03:04:05Z" and the terminating zero
void cr_clock_format(int64_t unix_seconds, char out[CR_CLOCK_TEXT_SIZE]); // RFC 3339, UTC

// Parses RFC 3339 ("2026-01-02T03:04:05Z"); drops a fraction of a second and applies an offset from UTC.
// False for anything else, including days that do not exist.
bool cr_clock_parse(const char *text, int64_t *unix_seconds);

#endif
