// The tokens that end a generated text, as in Transformers' generate.
#ifndef CARREL_TUNING_END_TOKENS_H
#define CARREL_TUNING_END_TOKENS_H

#include "text/tokenizer.h"

// Appends eos_token_id (a number or a list) of the directory's generation_config.json or, if there is no such
// file, of its config.json; if that file has none, the tokenizer's EOS. Ids that the model cannot produce are
// left out. A value that is not a token id returns CR_INVALID and names the file.
enum cr_status cr_end_tokens_read(const char *directory, const struct cr_tokenizer *tokenizer,
                                  struct cr_ids *out);

bool cr_end_tokens_hold(const struct cr_ids *ends, uint32_t token);

#endif
