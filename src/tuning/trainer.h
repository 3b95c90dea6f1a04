// Fine-tuning on one machine's data: what `carrel tune` runs to its end and what a silo runs round by round.
#ifndef CARREL_TUNING_TRAINER_H
#define CARREL_TUNING_TRAINER_H

#include "base/event.h"
#include "crypto/seal.h"
#include "slicing/slicing.h"
#include "tensor/compute.h"
#include "tuning/base_digest.h"
#include "tuning/config.h"
#include "tuning/parameters.h"

#include <stdint.h>

struct cr_trainer;

// What a period of training or an evaluation counted.
struct cr_tally {
    double loss_sum; // nats over labelled tokens
    size_t labelled; // labelled tokens
    size_t correct;  // of these, whose label is the arg max: counted in evaluations only
    size_t examples; // evaluated
    size_t exact;    // of these, every label is the arg max
    size_t chosen;   // of these, no other label word is likelier than the right one, if there were choices
    size_t skipped;  // rows of the evaluated file that have no labelled token
    size_t bad_rows; // rows of it that could not be read
    size_t tokens;   // rows in all
    size_t steps;    // optimiser steps
};

void cr_tally_add(struct cr_tally *sum, const struct cr_tally *more);

// Opens model, tokenizer and data, makes the tuned structure with its initial values (from config->seed), and
// sizes all memory. If config->data.train and config->cut are NULL, no training data is opened: such a
// trainer (a federation's server has one) has parameters, digest, evaluation and saving;
// cr_trainer_total_steps is 0, and cr_trainer_run returns CR_INVALID. config->data.eval, if given, is read at
// once and kept. `compute`, config->cut and the strings of config->data must outlive the trainer. Events:
// "train.connecting", "train.reading", "train.begin", "train.front", "train.slicing", "train.step",
// "train.eval", "train.warning".
enum cr_status cr_trainer_new(const struct cr_tuning_config *config, struct cr_compute *compute,
                              const struct cr_event_sink *sink, struct cr_trainer **out);
void cr_trainer_free(struct cr_trainer *trainer); // NULL is allowed

// The trainable vector. Values may be written between steps (a new global adapter).
struct cr_parameters *cr_trainer_parameters(struct cr_trainer *trainer);

// The slicing that asks accelerators for the frozen products; NULL: they are computed here.
struct cr_slicing *cr_trainer_slicing(const struct cr_trainer *trainer);

// Optimiser steps of the whole run as configured (max_steps, or epochs × steps per epoch).
size_t cr_trainer_total_steps(const struct cr_trainer *trainer);
size_t cr_trainer_step(const struct cr_trainer *trainer); // done so far

// Moves to another step of the run: data order, dropout and schedule continue from there; values and moments
// stay as they are. For a silo that missed a round. A step past the last returns CR_INVALID.
enum cr_status cr_trainer_seek(struct cr_trainer *trainer, size_t step);

// Trains `steps` more optimiser steps and adds to `tally`; more than are left of the run returns CR_INVALID.
//
// Every epoch goes over all examples in an order of its own, drawn from seed and epoch. A step takes the next
// gradient_accumulation_steps batches of per_device_train_batch_size examples (or packs of them); the last
// batch and the last step of an epoch may be smaller, as with Transformers' Trainer. Its loss is the mean
// over the labelled tokens of all its batches together. Data order, dropout and schedule depend only on the
// configuration and the number of the step, not on how the steps are cut into calls; the result does not
// depend on the number of threads. The gradient of the last step stays in the parameters, clipped.
//
// After each step `keep_going` (may be NULL) is called; if it returns false, the run ends early with
// CR_CANCELLED. A loss or gradient that is NaN or infinite returns CR_INVALID and names the step; values are
// then as before it.
enum cr_status cr_trainer_run(struct cr_trainer *trainer, size_t steps, struct cr_tally *tally,
                              bool (*keep_going)(void *context), void *context);

// Resets the optimiser's moments and its step counter; the schedule continues.
void cr_trainer_reset_optimizer(struct cr_trainer *trainer);

// Loss and accuracy over config->data.eval with the present parameters, without dropout. Examples are made as
// in training (max_length, train_on_prompt), except that the end of a text row is not scored, so that a file
// has the same loss here and in cr_session_evaluate. keep_going (NULL: always true) is called before each
// batch; CR_CANCELLED if it returns false.
enum cr_status cr_trainer_evaluate(struct cr_trainer *trainer, struct cr_tally *tally,
                                   bool (*keep_going)(void *context), void *context);

// Writes the tuned structure as a PEFT directory (LoRA, prefix tuning), a sparse change (tuning/spf_file.h),
// or both in one directory; or the whole model as a Transformers directory (full) with the base's config.json
// and tokenizer. Files have mode 0600. If parameters are NaN or infinite, as the last update may leave them,
// it returns CR_INVALID and writes nothing.
enum cr_status cr_trainer_save(struct cr_trainer *trainer, const char *directory);

// Save and load all state that the next step depends on (values, moments, counters): a run that continues
// from it gives the same bits as one that was never interrupted. A digest of model, data and configuration
// (except threads, paths and logging) guards against the state of another run: CR_INVALID, as for a truncated
// or damaged file. The file is sealed unless `sealing` is NULL; if a sealed one turns out to be damaged after
// its header, some of the values and moments have been overwritten.
enum cr_status cr_trainer_save_state(struct cr_trainer *trainer, const struct cr_sealing *sealing,
                                     const char *path);
enum cr_status cr_trainer_load_state(struct cr_trainer *trainer, const struct cr_sealing *sealing,
                                     const char *path);

// Reads the base and the data for that digest. Saving and loading do so themselves; called before the first
// step, it makes the digest that of the base as the run found it, and later saving quick.
enum cr_status cr_trainer_identify(struct cr_trainer *trainer);

// The digest of the base that the trainer trains on.
enum cr_status cr_trainer_base(struct cr_trainer *trainer, struct cr_base_digest *out);

// SHA-256 over model, tokenizer and tuned structure: two silos whose digests agree train the same thing.
enum cr_status cr_trainer_digest(struct cr_trainer *trainer, unsigned char out[CR_SHA256_SIZE]);

#endif
