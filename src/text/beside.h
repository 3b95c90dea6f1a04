// The files beside a tokenizer.json that affect tokenization, read as by AutoTokenizer of Transformers 5:
// tokenizer_config.json; special_tokens_map.json and added_tokens.json, which count only if
// tokenizer_config.json has no added_tokens_decoder; config.json, for the model's type.
#ifndef CARREL_TEXT_BESIDE_H
#define CARREL_TEXT_BESIDE_H

#include "format/json.h"

struct cr_beside_file {
    char *path;
    struct cr_json *json; // an object; NULL if the file is missing or does not count
};

// Zero-initialised it stands for no files; release with cr_beside_release, usable with CR_CLEANUP.
struct cr_beside {
    struct cr_beside_file config, map, added, model;
};

enum cr_status cr_beside_read(const char *directory, struct cr_beside *out);
void cr_beside_release(struct cr_beside *beside);

// CR_UNSUPPORTED if these files make the tokenizer's class put a space before a text (add_prefix_space) and
// the tokenizer.json's own pre-tokenizer does not; that is not supported. root: the tokenizer.json.
enum cr_status cr_beside_check(const struct cr_beside *beside, const struct cr_json *root);

// If the tokenizer's class replaces the file's normalizer and pre-tokenizer by a Metaspace, and its decoder
// by one of its own: sets *out to an object with "pre_tokenizer" and "decoder", which the caller frees; else
// to NULL.
enum cr_status cr_beside_metaspace(const struct cr_beside *beside, const struct cr_json *root,
                                   struct cr_json **out);

#endif
