// What the files beside a tokenizer.json say about it, as AutoTokenizer of Transformers 5 reads them:
// tokenizer_config.json; special_tokens_map.json and added_tokens.json, which count where the former does not
// list added_tokens_decoder; config.json, for the model's type.
#ifndef CARREL_TEXT_BESIDE_H
#define CARREL_TEXT_BESIDE_H

#include "format/json.h"

struct cr_beside_file {
    char *path;
    struct cr_json *json; // an object; NULL where the file is not there or does not count
};

// Zero-initialise (nothing is beside it then); release with cr_beside_release, usable with CR_CLEANUP.
struct cr_beside {
    struct cr_beside_file config, map, added, model;
};

enum cr_status cr_beside_read(const char *directory, struct cr_beside *out);
void cr_beside_release(struct cr_beside *beside);

// CR_UNSUPPORTED: the class of the tokenizer cuts text in a way that these files ask for, that the file's own
// pre-tokenizer does not have, and that is not there. root: the tokenizer.json.
enum cr_status cr_beside_check(const struct cr_beside *beside, const struct cr_json *root);

// Where the class of the tokenizer puts a Metaspace in the place of the file's normalizer and pre-tokenizer,
// and a decoder of its own: an object with "pre_tokenizer" and "decoder", to be freed; else NULL.
enum cr_status cr_beside_metaspace(const struct cr_beside *beside, const struct cr_json *root,
                                   struct cr_json **out);

#endif
