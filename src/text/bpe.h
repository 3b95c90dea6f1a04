// The "model" of a tokenizer.json: byte-pair encoding with ranked merges.
#ifndef CARREL_TEXT_BPE_H
#define CARREL_TEXT_BPE_H

#include "format/json.h"
#include "text/pieces.h"
#include "text/tokenizer.h"
#include "text/vocabulary.h"

struct cr_bpe;

// Refused: duplicate ids, merges of or into unknown tokens, an unknown unk_token, other types of model.
enum cr_status cr_bpe_new(const struct cr_json *json, const char *name, struct cr_bpe **out);
// Sets the options of Transformers' LlamaTokenizer, whatever the file says: a character that the vocabulary
// lacks becomes the tokens of its bytes, or nothing if the vocabulary lacks these too. Returns whether that
// may change the ids of a text.
bool cr_bpe_as_llama(struct cr_bpe *bpe);
void cr_bpe_free(struct cr_bpe *bpe); // NULL is allowed
const struct cr_vocabulary *cr_bpe_vocabulary(const struct cr_bpe *bpe);

// From now on encoding never gives a token with a barred id (`barred` [vocabulary.limit], ownership is
// taken), neither by a merge nor for a whole piece.
void cr_bpe_bar(struct cr_bpe *bpe, bool *barred);

// Appends the ids of all pieces; a piece that is an added token gives that token's id. Takes O(n log n) for a
// piece of length n. `starts` (or NULL) receives the offset in the text at which each token begins; then
// `out` and `starts` must be empty.
enum cr_status cr_bpe_encode(const struct cr_bpe *bpe, const struct cr_pieces *pieces, struct cr_ids *out,
                             struct cr_ids *starts);

#endif
