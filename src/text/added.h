// The "added_tokens" of a tokenizer.json: tokens that are cut out of a text before the model sees it.
#ifndef CARREL_TEXT_ADDED_H
#define CARREL_TEXT_ADDED_H

#include "text/beside.h"
#include "text/normalizer.h"
#include "text/pieces.h"
#include "text/vocabulary.h"

struct cr_added;

// `model` is the vocabulary in which added tokens may occur too, then with the same id. What a
// tokenizer_config.json says of a token in its added_tokens_decoder counts above the tokenizer.json; tokens
// that it or special_tokens_map.json names are special, and those of `model` among them added. A line for
// each token that they changed is appended to `changed`. CR_UNSUPPORTED: an id that Transformers would not
// let it have.
enum cr_status cr_added_new(const struct cr_json *json, const char *name, const struct cr_vocabulary *model,
                            const struct cr_normalizer *normalizer, const struct cr_beside *beside,
                            struct cr_buffer *changed, struct cr_added **out);
void cr_added_free(struct cr_added *added); // NULL is allowed

const struct cr_vocabulary *cr_added_vocabulary(const struct cr_added *added);

// How the token is spelled in a decoded text: in its normal form where it is looked for there, as Hugging
// Face has it since 0.23. {NULL, 0} where no added token has the id.
struct cr_slice cr_added_spelling(const struct cr_added *added, uint32_t id);

// Whether decoding may skip it: its spelling is the content of a special token.
bool cr_added_special(const struct cr_added *added, uint32_t id);

// Cuts out the tokens that are looked for in the text as it came (normalized false), or in its normal form;
// leftmost first, the longest of those. `special`: whether special tokens are among them.
enum cr_status cr_added_cut(const struct cr_added *added, bool normalized, bool special,
                            struct cr_pieces *pieces);

#endif
