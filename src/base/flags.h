// The command line of one command: a table of flags, read strictly, that also writes the --help text.
//
// Flags are long ("--model DIR", "--model=DIR"); "--" ends them; what is no flag is positional. Refused: an
// unknown flag (the nearest is suggested), a missing or surplus argument, a value that is not wholly of its
// type, a flag twice, an empty place (whose argument is DIR, FILE, PATH or CONFIG) or positional argument.
#ifndef CARREL_BASE_FLAGS_H
#define CARREL_BASE_FLAGS_H

#include "base/bytes.h"

#include <stdint.h>

enum cr_flag_type {
    CR_FLAG_BOOL,     // bool: takes no argument
    CR_FLAG_STRING,   // const char *: points into argv
    CR_FLAG_REQUIRED, // the same, NULL before; has to be given
    CR_FLAG_SIZE,     // size_t
    CR_FLAG_SEED,     // uint64_t
    CR_FLAG_NUMBER,   // double, finite, written as in JSON
    CR_FLAG_STRINGS,  // struct cr_flag_list: may be given several times
};

struct cr_flag_list {
    const char **items; // into the array of the caller
    size_t count, capacity;
};

struct cr_flag {
    const char *name; // without the dashes
    enum cr_flag_type type;
    void *target;         // keeps its value where the flag is not given
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

// argv[0] is the command's name. Positional arguments go to `positional` (room for most_positional), their
// number to *positional_count (NULL: nobody asks). With --help anywhere, *help is true and nothing else is
// checked or set. On failure the targets of flags before the wrong one are set.
enum cr_status cr_flags_parse(const struct cr_flags *flags, int argc, char **argv, const char **positional,
                              size_t *positional_count, bool *help);

// Appends the --help text.
enum cr_status cr_flags_help(const struct cr_flags *flags, struct cr_buffer *out);

#endif
