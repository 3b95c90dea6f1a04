// A step whose frozen products an accelerator computes under pads, beside the same step in this process.
#ifndef CARREL_CLI_BENCH_SECURE_H
#define CARREL_CLI_BENCH_SECURE_H

#include "cli/child.h"
#include "tuning/trainer.h"

enum { CR_BENCH_ADDRESS_SIZE = 300 };

// Starts a carrel-accelerator for the model at this directory, in which its socket lies. To be called before
// this program has threads; cr_child_stop and cr_child_release end it.
enum cr_status cr_bench_hire(const char *directory, size_t threads, char address[CR_BENCH_ADDRESS_SIZE],
                             struct cr_child *accelerator);

// Tokens per second of `repeats` steps of each kind, in turn. Pads are made meanwhile, on the same
// processors.
enum cr_status cr_bench_secure(const struct cr_tuning_config *plain, char *address, size_t digits,
                               struct cr_compute *compute, size_t repeats, double *secure_rates,
                               double *plain_rates);

#endif
