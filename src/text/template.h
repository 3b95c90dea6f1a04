// The "post_processor" of a tokenizer.json: which special tokens are put around a text. Supports
// TemplateProcessing, ByteLevel (which adds none) and Sequence.
#ifndef CARREL_TEXT_TEMPLATE_H
#define CARREL_TEXT_TEMPLATE_H

#include "format/json.h"
#include "text/pieces.h"
#include "text/tokenizer.h"

// Zero-initialise; release with cr_template_release.
struct cr_template {
    struct cr_ids before, after;
};

// The template's ids must be below `vocabulary`. On failure nothing needs to be released.
enum cr_status cr_template_parse(const struct cr_json *json, const char *name, size_t vocabulary,
                                 struct cr_template *out);
void cr_template_release(struct cr_template *template);

#endif
