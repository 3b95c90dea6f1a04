// Time, in kinds that are never mixed.
#ifndef CARREL_BASE_CLOCK_H
#define CARREL_BASE_CLOCK_H

#include <stdbool.h>
#include <stdint.h>

double cr_clock_monotonic(void); // seconds since some moment in the past; never jumps
double cr_clock_process(void);   // seconds of processors that this process has used, all its threads together
int64_t cr_clock_unix(void);     // seconds since 1970-01-01T00:00:00Z
double cr_clock_wall(void);      // the same with its fraction

enum { CR_CLOCK_TEXT_SIZE = 21 }; // "2026-01-02T03:04:05Z" and its zero
void cr_clock_format(int64_t unix_seconds, char out[CR_CLOCK_TEXT_SIZE]); // RFC 3339, UTC

// Reads RFC 3339 ("2026-01-02T03:04:05Z"; a fraction is left out, an offset counted in). False for anything
// else, days that no calendar has among it.
bool cr_clock_parse(const char *text, int64_t *unix_seconds);

#endif
