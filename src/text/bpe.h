// The "model" of a tokenizer.json: byte-pair encoding by ranked merges.
#ifndef CARREL_TEXT_BPE_H
#define CARREL_TEXT_BPE_H

#include "format/json.h"
#include "text/pieces.h"
#include "text/tokenizer.h"
#include "text/vocabulary.h"

struct cr_bpe;

// Refused: ids twice, merges of or into unknown tokens, an unknown unk_token, other kinds of model.
enum cr_status cr_bpe_new(const struct cr_json *json, const char *name, struct cr_bpe **out);
// As the LlamaTokenizer of Transformers has it, whatever the file says: bytes stand for what the vocabulary
// lacks, and nothing where it lacks them too. Whether that may change the ids of a text.
bool cr_bpe_as_llama(struct cr_bpe *bpe);
void cr_bpe_free(struct cr_bpe *bpe); // NULL is allowed
const struct cr_vocabulary *cr_bpe_vocabulary(const struct cr_bpe *bpe);

// From now on text never becomes a token whose id is barred ([vocabulary.limit], taken over): no merge makes
// it and no piece is it as a whole.
void cr_bpe_bar(struct cr_bpe *bpe, bool *barred);

// Appends the ids of all pieces; a piece that is a token gives that token. n log n in the longest piece.
// `starts` (NULL, or empty, as `out` must be then) gets the places in the text where the tokens begin.
enum cr_status cr_bpe_encode(const struct cr_bpe *bpe, const struct cr_pieces *pieces, struct cr_ids *out,
                             struct cr_ids *starts);

#endif
