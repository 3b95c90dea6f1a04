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

// What a stretch of training or an evaluation saw.
struct cr_tally {
    double loss_sum; // nats over labelled tokens
    size_t labelled; // labelled tokens
    size_t correct;  // of these, whose label is the arg max: evaluation alone counts them
    size_t examples; // evaluated
    size_t exact;    // of these, every label is the arg max
    size_t chosen;   // of these, no other label word is likelier than the right one, where choices were made
    size_t skipped;  // rows of the file evaluated that have no labelled token
    size_t bad_rows; // rows of it that could not be read
    size_t tokens;   // rows in all
    size_t steps;    // optimiser steps
};

void cr_tally_add(struct cr_tally *sum, const struct cr_tally *more);

// Opens model, tokenizer and data, makes the tuned structure and its initial values (from config->seed), and
// sizes all memory. Where config->data.train and config->cut are NULL no training data is opened: such a
// trainer (a federation server's) has parameters, digest, evaluation and saving; cr_trainer_total_steps is 0
// and cr_trainer_run is refused with CR_INVALID. config->data.eval, where given, is read too and kept.
// `compute`, config->cut and the strings of config->data must outlive it. Events:
// "train.connecting", "train.reading", "train.begin", "train.front", "train.slicing", "train.step",
// "train.eval", "train.warning".
enum cr_status cr_trainer_new(const struct cr_tuning_config *config, struct cr_compute *compute,
                              const struct cr_event_sink *sink, struct cr_trainer **out);
void cr_trainer_free(struct cr_trainer *trainer); // NULL is allowed

// The trainable vector. Writing values between steps is allowed (a new global adapter).
struct cr_parameters *cr_trainer_parameters(struct cr_trainer *trainer);

// What asks an accelerator for the frozen products; NULL: they are computed here.
struct cr_slicing *cr_trainer_slicing(const struct cr_trainer *trainer);

// Optimiser steps of the whole run as configured (max_steps, or epochs × steps per epoch).
size_t cr_trainer_total_steps(const struct cr_trainer *trainer);
size_t cr_trainer_step(const struct cr_trainer *trainer); // done so far

// Goes to another step of the run: data order, dropout and schedule go on from there; values and moments stay
// as they are. A silo that missed a round does this. Past the last step is CR_INVALID.
enum cr_status cr_trainer_seek(struct cr_trainer *trainer, size_t step);

// Trains `steps` more optimiser steps, adding to `tally`; more than are left of the run is CR_INVALID.
//
// Every epoch goes over all examples in an order of its own, drawn from seed and epoch. A step takes the next
// gradient_accumulation_steps batches of per_device_train_batch_size examples (or packs of them); the last
// batch and the last step of an epoch may be smaller, as with Transformers' Trainer. Its loss is the mean
// over the labelled tokens of all its batches together. Data order, dropout and schedule depend only on the
// configuration and the number of the step, not on how the steps are cut into calls; the result does not
// depend on the number of threads. The gradient of the last step stays in the parameters, clipped.
//
// After each step `keep_going` (may be NULL) is asked; false ends early with CR_CANCELLED. A loss or gradient
// that is NaN or infinite is CR_INVALID and names the step; the values are then those before it.
enum cr_status cr_trainer_run(struct cr_trainer *trainer, size_t steps, struct cr_tally *tally,
                              bool (*keep_going)(void *context), void *context);

// Forgets the optimiser's moments (its step counter too); the schedule goes on.
void cr_trainer_reset_optimizer(struct cr_trainer *trainer);

// Loss and accuracy over config->data.eval with the present parameters; dropout off. Examples are made as the
// training data's are (max_length, train_on_prompt), except that the end of a text row is not scored: a file
// has one loss, here and in cr_session_evaluate. keep_going (NULL: always) is asked before each batch; where
// it says no, CR_CANCELLED.
enum cr_status cr_trainer_evaluate(struct cr_trainer *trainer, struct cr_tally *tally,
                                   bool (*keep_going)(void *context), void *context);

// The tuned structure as a PEFT directory (LoRA, prefix tuning), a sparse change (tuning/spf_file.h) or both
// in one directory, or the whole model as a Transformers directory (full) with the base's config.json and
// tokenizer. Files are of mode 0600. Parameters that are NaN or infinite, as the last update may leave them,
// are CR_INVALID and nothing is written.
enum cr_status cr_trainer_save(struct cr_trainer *trainer, const char *directory);

// All state that the next step depends on (values, moments, counters), and back: a run that is taken up again
// gives the same bits as one that was never interrupted. A digest of model, data and configuration (threads,
// paths and logging aside) guards against another run's state: CR_INVALID, as is a file that is cut off or
// damaged. The file is sealed unless `sealing` is NULL; a sealed one that turns out to be damaged behind its
// header leaves values and moments of which some are the file's.
enum cr_status cr_trainer_save_state(struct cr_trainer *trainer, const struct cr_sealing *sealing,
                                     const char *path);
enum cr_status cr_trainer_load_state(struct cr_trainer *trainer, const struct cr_sealing *sealing,
                                     const char *path);

// Goes through the base and the data for that digest. Saving and loading do so by themselves; called before
// the first step, it makes a state one of the base as the run found it, and saving it quick.
enum cr_status cr_trainer_identify(struct cr_trainer *trainer);

// Of the base that it trains on.
enum cr_status cr_trainer_base(struct cr_trainer *trainer, struct cr_base_digest *out);

// SHA-256 over model, tokenizer and tuned structure: two silos whose digests agree train the same thing.
enum cr_status cr_trainer_digest(struct cr_trainer *trainer, unsigned char out[CR_SHA256_SIZE]);

#endif
