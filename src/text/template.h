// The "post_processor" of a tokenizer.json: which special tokens stand around a text. TemplateProcessing,
// ByteLevel (which adds none), Sequence.
#ifndef CARREL_TEXT_TEMPLATE_H
#define CARREL_TEXT_TEMPLATE_H

#include "format/json.h"
#include "text/pieces.h"
#include "text/tokenizer.h"

// Zero-initialise; release with cr_template_release.
struct cr_template {
    struct cr_ids before, after;
};

// `ids` must lie below `vocabulary`. On failure nothing needs releasing.
enum cr_status cr_template_parse(const struct cr_json *json, const char *name, size_t vocabulary,
                                 struct cr_template *out);
void cr_template_release(struct cr_template *template);

// For callers that put a text together from parts: the template of a tokenizer, and whether it has an added
// token of this text.
const struct cr_template *cr_tokenizer_template(const struct cr_tokenizer *tokenizer);
bool cr_tokenizer_added(const struct cr_tokenizer *tokenizer, struct cr_slice text, uint32_t *out);

// Appends the ids of such a text; `pieces` is used up. Its text is text: what spells a special token in it is
// encoded as any other characters. `marked` gets 1 for each token that holds a character between marks 0 and
// 1, 2 and 3, and so on, or 0. Nothing else is added.
enum cr_status cr_tokenizer_encode_pieces(const struct cr_tokenizer *tokenizer, struct cr_pieces *pieces,
                                          struct cr_ids *out, struct cr_ids *marked);

#endif
