// The output of the layers below the first tuned one for a dataset's examples: from a split model's silos
// (tuning/cut.h), or from the clear front (slicing/front.h), which is asked once for each example, when a
// pass first needs it; the answers are stored for all epochs. They are stored outside the process
// (base/scratch.h), in float32, in the clear as the data themselves are. Digests of them are kept in the
// process, so that every epoch gets the same front as the first.
#ifndef CARREL_TUNING_FRONT_H
#define CARREL_TUNING_FRONT_H

#include "slicing/front.h"
#include "text/batch.h"
#include "tuning/config.h"
#include "tuning/cut.h"

// The layer before which the front ends with these settings: the first layer that they adapt; 0 if there is
// no front, or no layer below. CR_INVALID if the settings do not fit the model.
enum cr_status cr_front_end(const struct cr_tuning_config *config, const struct cr_model_config *model,
                            size_t *layer);

struct cr_front_cache;

// For batches of up to `rows` rows and `sequences` sequences, each an example of `data`, none twice. `front`
// (of a model of width `hidden`) and `data` are borrowed; each token of an example takes 4·hidden bytes of
// disk in `directory`.
enum cr_status cr_front_cache_new(struct cr_front *front, const struct cr_dataset *data, size_t hidden,
                                  size_t rows, size_t sequences, const char *directory,
                                  struct cr_front_cache **out);

// The stored examples of a cut, which is borrowed.
enum cr_status cr_front_cache_of_cut(struct cr_cut *cut, struct cr_front_cache **out);
void cr_front_cache_free(struct cr_front_cache *cache); // NULL is allowed

// The layer before which the front ends and at which passes begin. 0, the embedding, if `cache` is NULL.
size_t cr_front_cache_layer(const struct cr_front_cache *cache);

// Runs the batch forward from that layer to the end of the model's `layers`; `pass` and `tuned` as for
// cr_pass_forward. CR_DENIED if the stored front was changed outside the process.
enum cr_status cr_front_forward(struct cr_front_cache *cache, struct cr_pass *pass,
                                const struct cr_tuned *tuned, const struct cr_batch *batch, size_t layers);

#endif
