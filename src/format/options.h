// A table (key, type, range, help) by which a YAML file is read into a struct and written again. The
// documentation is also made from it (tests/options_document.h).
//
// Refused with file, line and column: invalid YAML. Refused with file, line and key: an unknown key (the
// nearest name is suggested), a duplicate key, a value that is not wholly of its type ("8.5" for an integer,
// "yes" for a number, a list for a scalar), a value out of range, aliases and anchors, and deeper nesting
// than the table's.
#ifndef CARREL_FORMAT_OPTIONS_H
#define CARREL_FORMAT_OPTIONS_H

#include "base/bytes.h"

#include <stdint.h>

// Field types in the caller's struct.
enum cr_option_type {
    CR_OPTION_BOOL,    // bool: true or false
    CR_OPTION_SIZE,    // size_t, within [least, most]
    CR_OPTION_SEED,    // uint64_t, any
    CR_OPTION_NUMBER,  // double, finite, within [least, most]
    CR_OPTION_STRING,  // char *, owned; null gives NULL, if that is the default
    CR_OPTION_CHOICE,  // int: the index into choices
    CR_OPTION_STRINGS, // struct cr_string_list: a YAML list of strings, or one string
    CR_OPTION_SIZES,   // struct cr_size_list: a YAML list of integers, or one integer
    CR_OPTION_RECORDS, // struct cr_record_list: a YAML list of maps, each read by the sub-table
};

struct cr_string_list {
    char **items;
    size_t count;
};

struct cr_size_list {
    size_t *items;
    size_t count;
};

// Deep copies, and their release.
enum cr_status cr_string_list_copy(const struct cr_string_list *list, struct cr_string_list *out);
enum cr_status cr_size_list_copy(const struct cr_size_list *list, struct cr_size_list *out);
void cr_string_list_release(struct cr_string_list *list);
void cr_size_list_release(struct cr_size_list *list);

struct cr_record_list {
    void *items; // an array of structs, each of the sub-table's struct_size
    size_t count;
};

struct cr_option {
    const char *key; // dotted for nested maps: "lora.r"
    enum cr_option_type type;
    size_t offset;                         // in the struct
    const char *fallback;                  // the default, as written in YAML; NULL: zero
    bool required;                         // the key must be given
    double least, most;                    // SIZE, SIZES and NUMBER; both 0: no bound
    bool above, below;                     // NUMBER: `least`, or `most`, is excluded
    const char *hint;                      // added to the message for a value out of range
    bool path;                             // STRING: names a file or directory
    const char *const *choices;            // CHOICE: names, NULL at the end
    const char *help;                      // one sentence or two
    const char *alias;                     // another program's name for it, for suggestions; or NULL
    const struct cr_option_table *records; // RECORDS
    // Whether the option has an effect with these settings; NULL: always. An option without effect is not
    // written, and cr_options_check refuses it if it was given, with "only with `with`".
    bool (*useful)(const void *config);
    const char *with;
};

struct cr_option_table {
    const struct cr_option *options;
    size_t count;
    size_t struct_size;
};

// Sets `config` (struct_size bytes, uninitialised) to the defaults, then to the file's values. `lines`
// ([table->count], or NULL) receives the line on which each option was given, or 0. On failure nothing needs
// to be released.
enum cr_status cr_options_read(const struct cr_option_table *table, const char *path, void *config,
                               size_t *lines);
enum cr_status cr_options_parse(const struct cr_option_table *table, struct cr_slice yaml, const char *name,
                                void *config, size_t *lines);

// Sets one option by its key.
enum cr_status cr_options_set(const struct cr_option_table *table, void *config, const char *key,
                              const char *value);

// Applies "KEY=VALUE" from a command line (--set lora.r=16), and records that in `lines`.
enum cr_status cr_options_override(const struct cr_option_table *table, void *config, const char *setting,
                                   size_t *lines);

// Whether the option was given.
bool cr_options_given(const struct cr_option_table *table, const size_t *lines, const char *key);

// CR_INVALID if an option was given that has no effect. `name` is the file's.
enum cr_status cr_options_check(const struct cr_option_table *table, const void *config, const char *name,
                                const size_t *lines);

// CR_INVALID if a path is empty or begins with "~", which only a shell replaces.
enum cr_status cr_options_check_paths(const struct cr_option_table *table, const void *config,
                                      const char *name, const size_t *lines);

// Appends where the option was given, "x.yaml:7: lora.r" or "--set: lora.r", for the start of an error
// message.
enum cr_status cr_options_append_place(const struct cr_option_table *table, const char *name,
                                       const size_t *lines, const char *key, struct cr_buffer *out);

void cr_options_release(const struct cr_option_table *table, void *config); // frees strings and lists

// Appends the options as canonical YAML: table order, every useful key, so that equal settings give equal
// bytes.
enum cr_status cr_options_write(const struct cr_option_table *table, const void *config,
                                struct cr_buffer *out);
// Appends the options named in `keys` (`count` of them, in any order) in the table's order, with each
// option's help as a comment above it: a file for a user to edit.
enum cr_status cr_options_write_commented(const struct cr_option_table *table, const void *config,
                                          const char *const *keys, size_t count, struct cr_buffer *out);

#endif
