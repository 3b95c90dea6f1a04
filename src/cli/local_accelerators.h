// The accelerators that `carrel simulate` starts beside the process that uses them (a silo, or a split
// model's server), and `carrel bench` for itself. Their sockets and logs are in a directory of that process.
#ifndef CARREL_CLI_LOCAL_ACCELERATORS_H
#define CARREL_CLI_LOCAL_ACCELERATORS_H

#include "cli/child.h"
#include "federation/config.h"

// As many as `pads: peer` needs at least.
enum { CR_LOCAL_ACCELERATORS = 2 };

struct cr_local_accelerator {
    struct cr_child child;
    char *log, *address; // path, and unix:PATH
};

struct cr_local_accelerators {
    struct cr_local_accelerator items[CR_LOCAL_ACCELERATORS];
    size_t count;
};

#define CR_LOCAL_ACCELERATORS_NONE                                                                           \
    {                                                                                                        \
        .items = { {.child = CR_CHILD_NONE}, {.child = CR_CHILD_NONE} }                                      \
    }

// Starts the accelerators for the settings (model_name_or_path, slicing.pads), in an existing directory; for
// `lock` see cr_child_start. *out must be CR_LOCAL_ACCELERATORS_NONE; release it, even after a failure. Does
// not wait until they listen: whoever connects does.
enum cr_status cr_local_accelerators_hire(const struct cr_tuning_config *config, const char *directory,
                                          size_t threads, int lock, struct cr_local_accelerators *out);

// Fails if an accelerator has ended for whatever reason; the message names whose it is ("silo anne") and its
// log.
enum cr_status cr_local_accelerators_check(struct cr_local_accelerators *accelerators, const char *whose);

// Stops those that still run.
void cr_local_accelerators_end(struct cr_local_accelerators *accelerators);

void cr_local_accelerators_release(struct cr_local_accelerators *accelerators);

#endif
