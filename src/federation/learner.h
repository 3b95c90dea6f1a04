// What a federation trains with. The program uses cr_learner_tuning, the trainer of tuning/; tests of the
// protocol use a learner of their own that needs no model.
#ifndef CARREL_FEDERATION_LEARNER_H
#define CARREL_FEDERATION_LEARNER_H

#include "federation/config.h"
#include "tuning/trainer.h"

// Each function does what the function of the same name in tuning/trainer.h does.
struct cr_learner_kind {
    enum cr_status (*open)(const struct cr_config *config, const struct cr_event_sink *sink, void **out);
    void (*free)(void *learner); // NULL is allowed
    float *(*values)(void *learner, size_t *count);
    enum cr_status (*digest)(void *learner, unsigned char out[CR_SHA256_SIZE]);
    size_t (*total_steps)(void *learner);
    enum cr_status (*seek)(void *learner, size_t step);
    void (*reset_optimizer)(void *learner);
    enum cr_status (*run)(void *learner, size_t steps, struct cr_tally *tally,
                          bool (*keep_going)(void *context), void *context);
    enum cr_status (*save)(void *learner, const char *directory);
    enum cr_status (*save_state)(void *learner, const struct cr_sealing *sealing, const char *path);
    enum cr_status (*load_state)(void *learner, const struct cr_sealing *sealing, const char *path);
    enum cr_status (*base)(void *learner, struct cr_base_digest *out);
    size_t (*step)(void *learner);
};

extern const struct cr_learner_kind cr_learner_tuning;

// The optimiser steps [*first, *last) of a round (from 0), of total_steps in all rounds. The shares are even,
// so that every silo completes its schedule in the last round.
void cr_learner_share(size_t total_steps, uint64_t round, uint64_t rounds, size_t *first, size_t *last);

#endif
