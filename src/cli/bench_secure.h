// Steps of a trainer, whose frozen products an accelerator may compute under pads.
#ifndef CARREL_CLI_BENCH_SECURE_H
#define CARREL_CLI_BENCH_SECURE_H

#include "cli/child.h"
#include "tuning/trainer.h"

enum { CR_BENCH_ADDRESS_SIZE = 300 };

// Starts a carrel-accelerator for the model at this directory, in which its socket lies, called `name`. To be
// called before this program has threads; cr_child_stop and cr_child_release end it.
enum cr_status cr_bench_hire(const char *directory, const char *name, size_t threads,
                             char address[CR_BENCH_ADDRESS_SIZE], struct cr_child *accelerator);

// Tokens per second of each of `repeats` steps after a first one. With `ahead`, which takes slicing, all pads
// of a step lie ready before it begins and none are made meanwhile: CR_INTERNAL where that is not so.
//
// shares[i] becomes what step i's blinding, verifying and opening took of the time of `compute`'s processors,
// the making of pads meanwhile included; 0 without slicing.
enum cr_status cr_bench_steps(const struct cr_tuning_config *config, struct cr_compute *compute, bool ahead,
                              size_t repeats, double *rates, double *shares);

#endif
