// Digests of a base model and of data, so that two machines can tell that they have the same. A model has
// SHA-256 over its shape and its tensors, and over its tokenizer.json plus what the files beside it change
// (cr_tokenizer_beside); where they change nothing, the latter is what sha256sum prints.
#ifndef CARREL_TUNING_BASE_DIGEST_H
#define CARREL_TUNING_BASE_DIGEST_H

#include "crypto/hash.h"
#include "format/safetensors.h"
#include "model/model.h"
#include "text/dataset.h"

struct cr_base_digest {
    unsigned char model[CR_SHA256_SIZE], tokenizer[CR_SHA256_SIZE];
};

// `directory` has tokenizer.json; `weights` is NULL if the model begins with random weights.
enum cr_status cr_base_digest_of(const char *directory, const struct cr_model_config *shape,
                                 const struct cr_safetensors *weights, struct cr_base_digest *out);

// The same for what a split model's silos have: as `model` the embedding and layers [0, layers) and how their
// products are computed; and the tokenizer. Uses only the shape and the checkpoint of `model`, which may lack
// the other layers.
enum cr_status cr_base_digest_front(const struct cr_model *model, const char *directory, bool in_8bit,
                                    size_t layers, struct cr_base_digest *out);

// The same for a Hugging Face directory that is not open.
enum cr_status cr_base_digest_read(const char *directory, bool random_init, struct cr_base_digest *out);

// Adds the length, tokens and labels of every example to the hash.
enum cr_status cr_digest_examples(const struct cr_dataset *data, struct cr_hasher *hasher);

#endif
