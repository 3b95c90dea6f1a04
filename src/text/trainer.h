// Trains a byte-level BPE tokenizer and writes it as tokenizer.json.
#ifndef CARREL_TEXT_TRAINER_H
#define CARREL_TEXT_TRAINER_H

#include "base/bytes.h"

struct cr_bpe_options {
    size_t vocabulary;          // wanted size, including special tokens and the 256 bytes
    const char *const *special; // tokens that take no part in merges; they get the first ids
    size_t special_count;
    const char *bos, *eos; // in `special`, or NULL; bos is put before every text
};

// Splits the texts with GPT-2's regular expression, then repeatedly merges the most frequent pair (of equal
// ones, the lexicographically greater pair of byte strings, as in the reference implementation of Sennrich et
// al.). Deterministic. Appends a tokenizer.json to `json`.
enum cr_status cr_bpe_train(const struct cr_slice *texts, size_t text_count,
                            const struct cr_bpe_options *options, struct cr_buffer *json);

#endif
