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

// From a tokenizer.json, or a directory that holds one. Files beside it count as for AutoTokenizer of
// Transformers 5 (text/beside.h): they name bos_token and eos_token, null meaning none, say how added tokens
// are looked for, and a LlamaTokenizer cuts text its own way. A token that is not named so is the first added
// token of a usual name: <s>,
// <|begin_of_text|>, <|endoftext|> for BOS; </s>, <|end_of_text|>, <|endoftext|> for EOS. Components it does
// not know are CR_UNSUPPORTED, by name, as are tokens and a space before texts that a file beside would add.
enum cr_status cr_tokenizer_open(const char *path, struct cr_tokenizer **out);
enum cr_status cr_tokenizer_parse(struct cr_slice json, const char *name, struct cr_tokenizer **out);
void cr_tokenizer_free(struct cr_tokenizer *tokenizer); // NULL is allowed
void cr_tokenizer_release(
    struct cr_tokenizer **tokenizer); // frees *tokenizer and sets it to NULL; for CR_CLEANUP

// What the files beside it changed, a line for each: "token ID FLAGS", "metaspace SCHEME", "bos ID", "eos ID"
// ("bos none").
// Empty where they changed nothing; lives as long as the tokenizer.
struct cr_slice cr_tokenizer_beside(const struct cr_tokenizer *tokenizer);

// Appends the ids of `text` (valid UTF-8, else CR_INVALID with the offset). `add_special`: as the
// post-processor says (a leading BOS, usually). Added tokens in the text are recognised, as Transformers
// does. Encoding is safe from several threads at once.
enum cr_status cr_tokenizer_encode(const struct cr_tokenizer *tokenizer, struct cr_slice text,
                                   bool add_special, struct cr_ids *out);

// For callers that put a text together from parts: the template of a tokenizer (text/template.h), and whether
// it has an added token of this text.
const struct cr_template *cr_tokenizer_template(const struct cr_tokenizer *tokenizer);
bool cr_tokenizer_added(const struct cr_tokenizer *tokenizer, struct cr_slice text, uint32_t *out);

// Appends the ids of such a text (text/pieces.h); `pieces` is used up. Its text is text: what spells a
// special token in it is encoded as any other characters. `marked` gets 1 for each token that holds a
// character between marks 0 and 1, 2 and 3, and so on, or 0. Nothing else is added.
enum cr_status cr_tokenizer_encode_pieces(const struct cr_tokenizer *tokenizer, struct cr_pieces *pieces,
                                          struct cr_ids *out, struct cr_ids *marked);

// Appends the bytes of the ids; invalid UTF-8 that byte tokens leave becomes U+FFFD, as Transformers does.
// `skip_special` leaves out special tokens. An id that no token has gives nothing: models have more of them
// than their tokenizers.
enum cr_status cr_tokenizer_decode(const struct cr_tokenizer *tokenizer, const uint32_t *ids, size_t count,
                                   bool skip_special, struct cr_buffer *out);

// How many of the ids, from the first on, have a text without special tokens that no later id changes: a run
// of byte tokens is a text, or replacement characters, only once it has ended.
size_t cr_tokenizer_settled(const struct cr_tokenizer *tokenizer, const uint32_t *ids, size_t count);

size_t cr_tokenizer_vocabulary(const struct cr_tokenizer *tokenizer); // highest id + 1
// The token as the file spells it (byte-level characters, "<0x0A>", ...); {NULL, 0} where no token has the
// id.
struct cr_slice cr_tokenizer_token(const struct cr_tokenizer *tokenizer, uint32_t id);
bool cr_tokenizer_bos(const struct cr_tokenizer *tokenizer, uint32_t *out); // false where there is none
bool cr_tokenizer_eos(const struct cr_tokenizer *tokenizer, uint32_t *out);

#endif
