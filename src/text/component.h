// What the components of a tokenizer.json (normalizer, pre-tokenizer, post-processor, decoder) have in
// common. What is wrong is CR_INVALID: "name: section: ...", `section` being the component's key.
#ifndef CARREL_TEXT_COMPONENT_H
#define CARREL_TEXT_COMPONENT_H

#include "format/json.h"

// Sets *out to the list of steps of a "Sequence", json's member `key`: several steps in the place of one,
// each of which may be another Sequence. `depth`: how many Sequences it lies in, of which there may be no
// more than anybody needs.
enum cr_status cr_component_steps(const struct cr_json *json, const char *name, const char *section,
                                  const char *key, size_t depth, const struct cr_json **out);

// Appends the string that is json's member `key`.
enum cr_status cr_component_string(const struct cr_json *json, const char *name, const char *section,
                                   const char *key, struct cr_buffer *out);

// Of a "Replace": appends what is replaced, which is not empty, and by what. A regular expression is
// CR_UNSUPPORTED.
enum cr_status cr_component_replace(const struct cr_json *json, const char *name, const char *section,
                                    struct cr_buffer *pattern, struct cr_buffer *content);

#endif
