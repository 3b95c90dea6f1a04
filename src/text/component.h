// Common parts of the components of a tokenizer.json (normalizer, pre-tokenizer, post-processor, decoder).
// Errors are CR_INVALID with the message "name: section: ...", where `section` is the component's key.
#ifndef CARREL_TEXT_COMPONENT_H
#define CARREL_TEXT_COMPONENT_H

#include "format/json.h"

// Sets *out to the steps of a "Sequence", json's member `key`, each of which may be another Sequence.
// `depth`: how many Sequences it is nested in, which is limited.
enum cr_status cr_component_steps(const struct cr_json *json, const char *name, const char *section,
                                  const char *key, size_t depth, const struct cr_json **out);

// Appends the string member `key` of json.
enum cr_status cr_component_string(const struct cr_json *json, const char *name, const char *section,
                                   const char *key, struct cr_buffer *out);

// For a "Replace": appends the string to be replaced, which is not empty, and its replacement. A regular
// expression is CR_UNSUPPORTED.
enum cr_status cr_component_replace(const struct cr_json *json, const char *name, const char *section,
                                    struct cr_buffer *pattern, struct cr_buffer *content);

#endif
