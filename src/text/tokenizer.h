// Hugging Face tokenizer.json (BPE): SentencePiece style with byte fallback, and byte-level style.
#ifndef CARREL_TEXT_TOKENIZER_H
#define CARREL_TEXT_TOKENIZER_H

#include "base/bytes.h"

#include <stdint.h>

struct cr_tokenizer;
struct cr_template;
struct cr_pieces;

// A growing list of token ids; release with cr_ids_release (usable with CR_CLEANUP).
struct cr_ids {
    uint32_t *items;
    size_t count;
    size_t capacity;
};
void cr_ids_release(struct cr_ids *ids);
enum cr_status cr_ids_append(struct cr_ids *ids, uint32_t id);
enum cr_status cr_ids_append_all(struct cr_ids *ids, const struct cr_ids *more);

// Opens a tokenizer.json, or a directory that contains one. The files beside it are taken into account as by
// AutoTokenizer of Transformers 5 (text/beside.h): they name bos_token and eos_token (null: none), say how
// added tokens are matched, and a LlamaTokenizer cuts text in its own way. If they do not name BOS or EOS, it
// is the first added token among <s>, <|begin_of_text|>, <|endoftext|> for BOS; </s>, <|end_of_text|>,
// <|endoftext|> for EOS. CR_UNSUPPORTED, by name: unknown components, and tokens or a space before texts that
// a file beside it would add.
enum cr_status cr_tokenizer_open(const char *path, struct cr_tokenizer **out);
enum cr_status cr_tokenizer_parse(struct cr_slice json, const char *name, struct cr_tokenizer **out);
void cr_tokenizer_free(struct cr_tokenizer *tokenizer); // NULL is allowed
void cr_tokenizer_release(
    struct cr_tokenizer **tokenizer); // frees *tokenizer and sets it to NULL; for CR_CLEANUP

// What the files beside it changed, one line each: "token ID FLAGS", "metaspace SCHEME", "bos ID", "eos ID"
// ("bos none"). Empty if nothing; valid as long as the tokenizer.
struct cr_slice cr_tokenizer_beside(const struct cr_tokenizer *tokenizer);

// Appends the ids of `text` (valid UTF-8, else CR_INVALID with the offset). With `add_special` the
// post-processor's tokens are added (usually a leading BOS). Added tokens in the text are recognised, as in
// Transformers. Several threads may encode at the same time.
enum cr_status cr_tokenizer_encode(const struct cr_tokenizer *tokenizer, struct cr_slice text,
                                   bool add_special, struct cr_ids *out);

// For callers that build a text from parts: the tokenizer's template (text/template.h), and whether it has an
// added token with this text.
const struct cr_template *cr_tokenizer_template(const struct cr_tokenizer *tokenizer);
bool cr_tokenizer_added(const struct cr_tokenizer *tokenizer, struct cr_slice text, uint32_t *out);

// Appends the ids of a text built from parts (text/pieces.h); `pieces` is consumed. In its text, special
// tokens are not recognised but encoded as plain characters. `marked` receives for each token 1 if it
// contains a character between marks 0 and 1, 2 and 3, and so on, else 0. Nothing is added around the text.
enum cr_status cr_tokenizer_encode_pieces(const struct cr_tokenizer *tokenizer, struct cr_pieces *pieces,
                                          struct cr_ids *out, struct cr_ids *marked);

// Appends the text of the ids; invalid UTF-8 from byte tokens becomes U+FFFD, as in Transformers.
// `skip_special` leaves out special tokens. An id without a token gives nothing: models may have more ids
// than their tokenizers.
enum cr_status cr_tokenizer_decode(const struct cr_tokenizer *tokenizer, const uint32_t *ids, size_t count,
                                   bool skip_special, struct cr_buffer *out);

// How many of the first ids have a text (without special tokens) that no later id can change: a run of byte
// tokens becomes text, or replacement characters, only once it has ended.
size_t cr_tokenizer_settled(const struct cr_tokenizer *tokenizer, const uint32_t *ids, size_t count);

size_t cr_tokenizer_vocabulary(const struct cr_tokenizer *tokenizer); // highest id + 1
// The token as spelled in the file (byte-level characters, "<0x0A>", ...); {NULL, 0} if no token has this id.
struct cr_slice cr_tokenizer_token(const struct cr_tokenizer *tokenizer, uint32_t id);
bool cr_tokenizer_bos(const struct cr_tokenizer *tokenizer, uint32_t *out); // false if there is none
bool cr_tokenizer_eos(const struct cr_tokenizer *tokenizer, uint32_t *out);

#endif
