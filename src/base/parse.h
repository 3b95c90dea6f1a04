// Reading single words: numbers, and names that were meant.
#ifndef CARREL_BASE_PARSE_H
#define CARREL_BASE_PARSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// True where the text is wholly decimal digits (no sign, no space) and fits.
bool cr_parse_unsigned(const char *text, uint64_t *out);

// True where the text is wholly a number as JSON writes it. One beyond every double gives an infinity.
bool cr_parse_number(const char *text, double *out);

// "24h", "90m", "30s", "7d" in seconds; false for anything else.
bool cr_parse_duration(const char *text, double *seconds);

bool cr_ends_with(const char *text, const char *end);

// Levenshtein's distance; SIZE_MAX where a text is longer than any name (96 bytes).
size_t cr_edit_distance(const char *a, const char *b);

// The most edits by which `name` may differ from what was meant: one, and one more for every three letters.
size_t cr_near_enough(const char *name);

// The candidate nearest to `name`, or NULL where none is near enough to be meant.
const char *cr_nearest_name(const char *name, const char *const *candidates, size_t count);

#endif
