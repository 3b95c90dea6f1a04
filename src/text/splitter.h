// The "pre_tokenizer" of a tokenizer.json: Sequence, ByteLevel, Split, Metaspace, Digits, Whitespace,
// WhitespaceSplit.
#ifndef CARREL_TEXT_SPLITTER_H
#define CARREL_TEXT_SPLITTER_H

#include "format/json.h"
#include "text/pieces.h"

struct cr_splitter;

// Made from the JSON value (null: does nothing). `name` begins error messages.
enum cr_status cr_splitter_new(const struct cr_json *json, const char *name, struct cr_splitter **out);
void cr_splitter_free(struct cr_splitter *splitter); // NULL is allowed

// Cuts and rewrites the pieces that are not tokens.
enum cr_status cr_split(const struct cr_splitter *splitter, struct cr_pieces *pieces);

#endif
