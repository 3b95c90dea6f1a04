// The "decoder" of a tokenizer.json: ByteLevel, Metaspace, Replace of a string, ByteFallback, Fuse, Strip,
// Sequence.
#ifndef CARREL_TEXT_DECODER_H
#define CARREL_TEXT_DECODER_H

#include "format/json.h"
#include "text/pieces.h"

struct cr_text_decoder;

// Made from the JSON value (null: tokens are joined by spaces). `name` begins error messages.
enum cr_status cr_text_decoder_new(const struct cr_json *json, const char *name,
                                   struct cr_text_decoder **out);
void cr_text_decoder_free(struct cr_text_decoder *decoder); // NULL is allowed

// The byte for which a token such as "<0x0A>" stands; -1 if it stands for none.
int cr_byte_of_token(struct cr_slice token);

// Appends the text of the tokens, given as one piece each; `tokens` is consumed.
enum cr_status cr_decode(const struct cr_text_decoder *decoder, struct cr_pieces *tokens,
                         struct cr_buffer *out);

#endif
