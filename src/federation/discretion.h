// What a federation with model slicing keeps to itself. There a silo's operator is not to learn the tuned
// values, and what it is told of them is all that it could learn them from: it chooses the silo's texts, and
// knows the frozen model. In a federation without slicing nothing of this applies.
#ifndef CARREL_FEDERATION_DISCRETION_H
#define CARREL_FEDERATION_DISCRETION_H

#include "base/event.h"
#include "federation/config.h"

// A lower rate hardly moves the values: round after round would then tell the loss of the same values on
// other texts, as often as one likes.
#define CR_LEAST_LEARNING_RATE 1e-6

// Refuses, as CR_INVALID, a federation whose learning rate is lower.
enum cr_status cr_discretion_check(const struct cr_config *config);

// The same of every round of a silo that makes `total_steps` in all: warm-up and decay are part of the rate.
enum cr_status cr_discretion_check_rounds(const struct cr_config *config, size_t total_steps);

// The loss of a round as it may be told: to two decimals.
double cr_discretion_loss(const struct cr_config *config, double loss);

// The event as a silo may tell it: a "train.step" without its loss and gradient norm. `fields` has room for
// those that are left, and must outlive *out.
void cr_discretion_event(const struct cr_config *config, const struct cr_event *event,
                         struct cr_event_field *fields, struct cr_event *out);

// The seed of the job: of the server's secret and of the settings' seed, so that nobody can draw the first
// values, the order of the data or dropout again.
enum { CR_SEED_SECRET_SIZE = 32 };
enum cr_status cr_discretion_seed(const unsigned char secret[CR_SEED_SECRET_SIZE], uint64_t seed,
                                  uint64_t *out);

#endif
