// A silo's side of a split model: runs the frozen embedding and first layers over its data once.
#ifndef CARREL_TUNING_CUTTER_H
#define CARREL_TUNING_CUTTER_H

#include "base/event.h"
#include "tuning/base_digest.h"
#include "tuning/config.h"
#include "tuning/cut.h"

struct cr_cutter;

// Opens the tensors below config->split.layers, the tokenizer, and config->data.train. `compute` must outlive
// the cutter. Event: "train.warning".
enum cr_status cr_cutter_new(const struct cr_tuning_config *config, struct cr_compute *compute,
                             const struct cr_event_sink *sink, struct cr_cutter **out);
void cr_cutter_free(struct cr_cutter *cutter); // NULL is allowed

const struct cr_dataset *cr_cutter_data(const struct cr_cutter *cutter);
size_t cr_cutter_row_size(const struct cr_cutter *cutter); // bytes of a token's activations

// cr_base_digest_front of the opened model, and SHA-256 over the data's tokens and labels.
enum cr_status cr_cutter_digest(const struct cr_cutter *cutter, struct cr_base_digest *front,
                                unsigned char data[CR_SHA256_SIZE]);

// Runs a large batch of examples, from `first` on, through the front, and appends the encoded activations of
// their rows, one after the other. *end: the example after the last.
enum cr_status cr_cutter_walk(struct cr_cutter *cutter, size_t first, struct cr_buffer *activations,
                              size_t *end);

#endif
