// What the layers below the first tuned one made of a dataset's examples: a split model's silos
// (tuning/cut.h), or the clear front (slicing/front.h), which is asked for once, when an example is first
// walked, and whose answers are kept for all epochs. It lies outside of the process (base/scratch.h), in
// float32, in the clear as the data themselves do; in here are digests, so that no epoch gets another front
// than the first.
#ifndef CARREL_TUNING_FRONT_H
#define CARREL_TUNING_FRONT_H

#include "slicing/front.h"
#include "text/batch.h"
#include "tuning/config.h"
#include "tuning/cut.h"

// The layer before which the front of these settings ends: the first that they adapt; 0 where there is no
// front, or nothing below. Settings that fit no such model are CR_INVALID.
enum cr_status cr_front_end(const struct cr_tuning_config *config, const struct cr_model_config *model,
                            size_t *layer);

struct cr_front_cache;

// For batches of `data` of at most `rows` rows and `sequences` sequences, each of which is an example of
// `data` once. `front` (of a model of width `hidden`) and `data` are borrowed; each token of an
// example takes 4·hidden bytes of `directory`.
enum cr_status cr_front_cache_new(struct cr_front *front, const struct cr_dataset *data, size_t hidden,
                                  size_t rows, size_t sequences, const char *directory,
                                  struct cr_front_cache **out);

// What a cut has of its examples; borrowed.
enum cr_status cr_front_cache_of_cut(struct cr_cut *cut, struct cr_front_cache **out);
void cr_front_cache_free(struct cr_front_cache *cache); // NULL is allowed

// The layer that the front ends before, where walks begin. Of NULL, 0: the embedding.
size_t cr_front_cache_layer(const struct cr_front_cache *cache);

// Walks the batch from there to the end of the model's `layers`; `pass` and `tuned` as cr_pass_forward has
// them. A front that was changed outside is CR_DENIED.
enum cr_status cr_front_forward(struct cr_front_cache *cache, struct cr_pass *pass,
                                const struct cr_tuned *tuned, const struct cr_batch *batch, size_t layers);

#endif
