// The "added_tokens" of a tokenizer.json: tokens that are cut out of a text before the rest is encoded.
#ifndef CARREL_TEXT_ADDED_H
#define CARREL_TEXT_ADDED_H

#include "text/beside.h"
#include "text/normalizer.h"
#include "text/pieces.h"
#include "text/vocabulary.h"

struct cr_added;

// `model` is the model's vocabulary, which may also contain added tokens, with the same ids.
// added_tokens_decoder of a tokenizer_config.json takes precedence over the tokenizer.json. Tokens named in
// tokenizer_config.json or special_tokens_map.json are special, and become added tokens if only `model` has
// them. A line for each token that these files changed is appended to `changed`. CR_UNSUPPORTED: an id that
// Transformers would not give the token.
enum cr_status cr_added_new(const struct cr_json *json, const char *name, const struct cr_vocabulary *model,
                            const struct cr_normalizer *normalizer, const struct cr_beside *beside,
                            struct cr_buffer *changed, struct cr_added **out);
void cr_added_free(struct cr_added *added); // NULL is allowed

const struct cr_vocabulary *cr_added_vocabulary(const struct cr_added *added);

// The token's text when decoding: normalised if it is matched in normalised text, as Hugging Face does since
// 0.23. {NULL, 0} if no added token has the id.
struct cr_slice cr_added_spelling(const struct cr_added *added, uint32_t id);

// Whether decoding may skip the token: its text is the content of a special token.
bool cr_added_special(const struct cr_added *added, uint32_t id);

// Cuts out the tokens that are matched in the original text (normalized false) or in the normalised text: the
// leftmost first, and the longest at one place. `special`: whether to match special tokens.
enum cr_status cr_added_cut(const struct cr_added *added, bool normalized, bool special,
                            struct cr_pieces *pieces);

#endif
