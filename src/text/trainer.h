// Trains a byte-level BPE tokenizer and writes it as tokenizer.json.
#ifndef CARREL_TEXT_TRAINER_H
#define CARREL_TEXT_TRAINER_H

#include "base/bytes.h"

struct cr_bpe_options {
    size_t vocabulary;          // wanted size, special tokens and the 256 bytes included
    const char *const *special; // tokens that never merge; their ids come first
    size_t special_count;
    const char *bos, *eos; // members of special, or NULL; bos is put before every text
};

// Pre-tokenizes with GPT-2's expression, merges the most frequent pair, ties to the lexicographically greater
// pair of byte strings (as Sennrich et al.'s reference). Deterministic. Appends tokenizer.json to
// `json`.
enum cr_status cr_bpe_train(const struct cr_slice *texts, size_t text_count,
                            const struct cr_bpe_options *options, struct cr_buffer *json);

#endif
