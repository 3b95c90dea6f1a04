// A "Sequence" in a tokenizer.json: several steps in the place of one, each of which may be another Sequence.
#ifndef CARREL_TEXT_SEQUENCE_H
#define CARREL_TEXT_SEQUENCE_H

#include "format/json.h"

// Sets *out to the list of its steps, json's member `key`. `depth`: how many Sequences it lies in. No list,
// or more of them in each other than anybody needs, is CR_INVALID: "name: section: ...".
enum cr_status cr_sequence_steps(const struct cr_json *json, const char *name, const char *section,
                                 const char *key, size_t depth, const struct cr_json **out);

#endif
