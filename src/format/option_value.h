// Single values of an option table; shared by the files behind format/options.h, not for other layers.
#ifndef CARREL_FORMAT_OPTION_VALUE_H
#define CARREL_FORMAT_OPTION_VALUE_H

#include "format/options.h"

// The option's field in a config.
void *cr_option_field(const struct cr_option *option, void *config);
const void *cr_option_field_const(const struct cr_option *option, const void *config);

// Sets the field of a scalar option from text, and frees its old value. A quoted text is always a string; a
// plain one is read by the option's type, so that "no" is never false and "1e-8" is always a number. The
// error message names neither file nor key.
enum cr_status cr_option_set_scalar(const struct cr_option *option, const char *text, bool quoted,
                                    void *field);

// Adds one element to the list of a STRINGS or SIZES option.
enum cr_status cr_option_add_element(const struct cr_option *option, const char *text, bool quoted,
                                     void *field);

// Adds one zeroed struct to a record list and sets *record to it.
enum cr_status cr_option_add_record(const struct cr_option *option, struct cr_record_list *list,
                                    void **record);

// Frees what the field owns and zeroes it.
void cr_option_release(const struct cr_option *option, void *field);

// Appends the range, such as "1 to 64" or "above 0 to 10"; nothing if there are no bounds.
enum cr_status cr_option_append_range(const struct cr_option *option, struct cr_buffer *out);

// The option with this key, or NULL.
const struct cr_option *cr_option_find(const struct cr_option_table *table, const char *key);

// CR_INVALID: "prefixunknown key "path" (did you mean "nearest"?)".
enum cr_status cr_option_fail_unknown(const struct cr_option_table *table, const char *prefix,
                                      const char *path);

#endif
