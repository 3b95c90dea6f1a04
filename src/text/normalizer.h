// The "normalizer" of a tokenizer.json: Sequence, NFC, NFD, NFKC, NFKD, Lowercase, Strip, Prepend, and
// Replace of a plain string.
#ifndef CARREL_TEXT_NORMALIZER_H
#define CARREL_TEXT_NORMALIZER_H

#include "format/json.h"

struct cr_normalizer;

// Made from the JSON value (null: does nothing). `name` begins error messages.
enum cr_status cr_normalizer_new(const struct cr_json *json, const char *name, struct cr_normalizer **out);
void cr_normalizer_free(struct cr_normalizer *normalizer); // NULL is allowed
bool cr_normalizer_idle(const struct cr_normalizer *normalizer);

// Appends the normalised form of valid UTF-8. If it is not the `whole` text, more follows, and its end is not
// stripped. *cut_front (may be NULL) is set to whether its front was stripped.
enum cr_status cr_normalize(const struct cr_normalizer *normalizer, struct cr_slice text, bool whole,
                            struct cr_buffer *out, bool *cut_front);

#endif
