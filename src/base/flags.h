// The command line of one command, described by a table of flags, from which it is parsed and the --help text
// is written.
//
// Flags are long ("--model DIR", "--model=DIR"); "--" ends them; all other arguments are positional. Refused:
// an unknown flag (the nearest name is suggested), a missing or surplus argument, a value that is not wholly
// of its type, a repeated flag, an empty positional argument, and an empty path (an argument called DIR,
// FILE, PATH or CONFIG).
#ifndef CARREL_BASE_FLAGS_H
#define CARREL_BASE_FLAGS_H

#include "base/bytes.h"

#include <stdint.h>

enum cr_flag_type {
    CR_FLAG_BOOL,     // bool: takes no argument
    CR_FLAG_STRING,   // const char *: points into argv
    CR_FLAG_REQUIRED, // the same, but mandatory; must be NULL before parsing
    CR_FLAG_SIZE,     // size_t
    CR_FLAG_SEED,     // uint64_t
    CR_FLAG_NUMBER,   // double, finite, written as in JSON
    CR_FLAG_STRINGS,  // struct cr_flag_list: may be given several times
};

struct cr_flag_list {
    const char **items; // the caller's array, of `capacity` items
    size_t count, capacity;
};

struct cr_flag {
    const char *name; // without the dashes
    enum cr_flag_type type;
    void *target;         // left as it is if the flag is not given
    const char *argument; // what --help calls the argument: "DIR"; NULL for BOOL
    const char *help;
};

struct cr_flags {
    const char *usage;   // "carrel eval --model DIR --data FILE [options]"
    const char *summary; // one or two sentences
    const struct cr_flag *items;
    size_t count;
    size_t least_positional, most_positional;
};

// argv[0] is the command's name. Positional arguments are stored in `positional` (room for most_positional),
// and their number in *positional_count (may be NULL). If --help stands anywhere, *help is set to true and
// nothing else is checked or set. On failure, targets of flags before the wrong one have been set.
enum cr_status cr_flags_parse(const struct cr_flags *flags, int argc, char **argv, const char **positional,
                              size_t *positional_count, bool *help);

// Appends the --help text.
enum cr_status cr_flags_help(const struct cr_flags *flags, struct cr_buffer *out);

#endif
