// The inside of a trainer, shared by the files that implement it.
#ifndef CARREL_TUNING_TRAINER_PARTS_H
#define CARREL_TUNING_TRAINER_PARTS_H

#include "base/lanes.h"
#include "crypto/hash.h"
#include "crypto/random.h"
#include "model/pass.h"
#include "slicing/slicing.h"
#include "slicing/spill.h"
#include "text/batch.h"
#include "text/pack.h"
#include "tuning/front.h"
#include "tuning/optimizer.h"
#include "tuning/structure.h"
#include "tuning/trainer.h"

// What "train.step" reports: sums since the last report; tokens and steps count the present run only.
struct cr_trainer_report {
    double loss_sum;
    size_t labelled;
    size_t tokens;
    size_t steps;
    double began; // monotonic seconds
};

// What a micro-batch needs while it is processed.
struct cr_trainer_walk {
    struct cr_pass *pass;
    struct cr_batch *batch;
    struct cr_spill *spill; // stores what the pass keeps; NULL: the pass keeps it itself
};

struct cr_trainer {
    struct cr_training_config training;
    struct cr_dataset_options data_options;
    char *base; // the model's directory
    bool random_init;
    bool in_8bit;  // the frozen matrices are in int8, wherever their products are computed
    size_t digits; // of masked products; 0: there are none
    uint64_t seed;
    struct cr_compute *compute; // borrowed
    struct cr_event_sink sink;

    struct cr_model *model;
    struct cr_slicing *slicing; // NULL if the frozen products are computed here
    struct cr_front *front;     // NULL if passes begin with the embedding
    struct cr_front_cache *front_of_data, *front_of_held_out;
    struct cr_tokenizer *tokenizer;
    struct cr_cut *cut;          // of a split model's tail, which owns `data`; borrowed
    struct cr_dataset *data;     // NULL for a trainer without training data
    struct cr_dataset *held_out; // NULL without data.eval
    const char *held_out_path;
    struct cr_packs packs; // the units of a batch: one example each without packing
    struct cr_structure *structure;
    struct cr_optimizer_state optimizer;
    struct cr_lanes *lanes;        // of training; NULL: one
    struct cr_trainer_walk *walks; // one for each lane; evaluations take the first

    struct cr_draws *shuffle;
    uint32_t *order; // [packs.count] the epoch's permutation
    size_t epoch;    // of `order`; SIZE_MAX: none yet
    size_t total_steps, step;
    struct cr_trainer_report report;

    bool base_known;
    struct cr_base_digest base_digest; // cr_trainer_base's answer
    bool run_known;
    unsigned char run[CR_SHA256_SIZE]; // the digest of a saved state
};

// Opens and makes everything else for a trainer that has only its settings. On failure cr_trainer_free
// releases what has been made.
enum cr_status cr_trainer_open(struct cr_trainer *trainer, const struct cr_tuning_config *config);

// One optimiser step; on failure the trainer is as before it.
enum cr_status cr_trainer_do_step(struct cr_trainer *trainer, struct cr_tally *tally, double *grad_norm);

// Fills the batch with packs [first, last) of the first epoch's order.
enum cr_status cr_trainer_fill(struct cr_trainer *trainer, size_t first, size_t last, struct cr_batch *batch);

// Runs the walk's batch forward and backward: adds the loss of its tokens to *loss_sum, and the gradient of
// that loss / labelled to the gradients of what is tuned.
enum cr_status cr_trainer_walk_batch(const struct cr_trainer *trainer, const struct cr_trainer_walk *walk,
                                     const struct cr_tuned *tuned, size_t labelled, double *loss_sum);

// Chooses what sparse fine-tuning trains, and makes its structure. Runs the first batches if the criterion
// needs gradients, so everything that a pass needs must exist.
enum cr_status cr_trainer_make_spf(struct cr_trainer *trainer, const struct cr_tuning_config *config,
                                   bool training, struct cr_structure **out);

// Opens the front, for passes of so many rows and sequences, if slicing.clear_front asks for one and a layer
// is below the first adapted one, or if the model is split. Any slicing must be open already.
enum cr_status cr_trainer_open_front(struct cr_trainer *trainer, const struct cr_tuning_config *config,
                                     size_t rows, size_t sequences);

#endif
