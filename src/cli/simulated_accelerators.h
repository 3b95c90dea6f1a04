// The accelerators that `carrel simulate` starts beside whoever asks them: a silo, or a split model's server.
// They listen, and leave a log each, in a directory of that one.
#ifndef CARREL_CLI_SIMULATED_ACCELERATORS_H
#define CARREL_CLI_SIMULATED_ACCELERATORS_H

#include "cli/child.h"
#include "federation/config.h"

// As many as pads of peers take at least.
enum { CR_SIMULATED_ACCELERATORS = 2 };

struct cr_simulated_accelerator {
    struct cr_child child;
    char *log, *address; // path, and unix:PATH
};

struct cr_simulated_accelerators {
    struct cr_simulated_accelerator items[CR_SIMULATED_ACCELERATORS];
    size_t count;
};

#define CR_SIMULATED_ACCELERATORS_NONE                                                                       \
    {                                                                                                        \
        .items = { {.child = CR_CHILD_NONE}, {.child = CR_CHILD_NONE} }                                      \
    }

// Starts those that the settings want, in a directory that is there. *out is CR_SIMULATED_ACCELERATORS_NONE
// before; release it, whatever came of it. Who asks them waits until they listen.
enum cr_status cr_simulated_accelerators_hire(const struct cr_tuning_config *config, const char *directory,
                                              size_t threads, int lock,
                                              struct cr_simulated_accelerators *out);

// One that ended at all is a failure that names whose it is ("silo anne") and its log.
enum cr_status cr_simulated_accelerators_check(struct cr_simulated_accelerators *accelerators,
                                               const char *whose);

// Ends those that still run.
void cr_simulated_accelerators_end(struct cr_simulated_accelerators *accelerators);

void cr_simulated_accelerators_release(struct cr_simulated_accelerators *accelerators);

#endif
