// Parsing of numbers and durations, and suggestions for mistyped names.
#ifndef CARREL_BASE_PARSE_H
#define CARREL_BASE_PARSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// True if the text consists of decimal digits only (no sign, no space) and the number fits.
bool cr_parse_unsigned(const char *text, uint64_t *out);

// True if the whole text is a number as in JSON. A number beyond double's range gives an infinity.
bool cr_parse_number(const char *text, double *out);

// "24h", "90m", "30s", "7d" in seconds; false for anything else.
bool cr_parse_duration(const char *text, double *seconds);

bool cr_ends_with(const char *text, const char *end);

// The Levenshtein distance; SIZE_MAX if either text is longer than any name (96 bytes).
size_t cr_edit_distance(const char *a, const char *b);

// How many edits `name` may be away from a suggestion: one, plus one for every three letters.
size_t cr_near_enough(const char *name);

// The candidate nearest to `name`, or NULL if none is near enough (cr_near_enough).
const char *cr_nearest_name(const char *name, const char *const *candidates, size_t count);

#endif
