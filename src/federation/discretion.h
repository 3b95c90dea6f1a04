// What a federation with model slicing keeps secret. With slicing a silo's operator must not learn the tuned
// values. All that he could learn them from is what he is told about the training, since he chooses the
// silo's texts and knows the frozen model. Without slicing nothing here applies.
#ifndef CARREL_FEDERATION_DISCRETION_H
#define CARREL_FEDERATION_DISCRETION_H

#include "base/event.h"
#include "federation/config.h"

// With a lower rate the values would hardly change, so each round would reveal the loss of the same values on
// other texts, as often as one likes.
#define CR_LEAST_LEARNING_RATE 1e-6

// Fails with CR_INVALID if the federation's learning rate is lower than that.
enum cr_status cr_discretion_check(const struct cr_config *config);

// The same for every round of a silo that makes `total_steps` optimiser steps in all, with warm-up and decay.
enum cr_status cr_discretion_check_rounds(const struct cr_config *config, size_t total_steps);

// The loss of a round as it may be reported: with slicing rounded to two decimals.
double cr_discretion_loss(const struct cr_config *config, double loss);

// The event as a silo may report it: with slicing, "train.step" loses its loss and gradient norm. `fields`
// has room for the fields that are left, and must outlive *out.
void cr_discretion_event(const struct cr_config *config, const struct cr_event *event,
                         struct cr_event_field *fields, struct cr_event *out);

// Derives the job's seed from the server's secret and the settings' seed, so that nobody can reproduce the
// first values, the order of the data, or dropout.
enum { CR_SEED_SECRET_SIZE = 32 };
enum cr_status cr_discretion_seed(const unsigned char secret[CR_SEED_SECRET_SIZE], uint64_t seed,
                                  uint64_t *out);

#endif
