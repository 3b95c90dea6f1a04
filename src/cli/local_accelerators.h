// The accelerators that `carrel simulate` starts beside whoever asks them (a silo, or a split model's
// server), and `carrel bench` for itself. They listen, and leave a log each, in a directory of that one.
#ifndef CARREL_CLI_LOCAL_ACCELERATORS_H
#define CARREL_CLI_LOCAL_ACCELERATORS_H

#include "cli/child.h"
#include "federation/config.h"

// As many as pads of peers take at least.
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

// Starts those that the settings want (model_name_or_path, slicing.pads), in a directory that is there;
// `lock` as for cr_child_start. *out is CR_LOCAL_ACCELERATORS_NONE before; release it, whatever came of it.
// Who asks them waits until they listen.
enum cr_status cr_local_accelerators_hire(const struct cr_tuning_config *config, const char *directory,
                                          size_t threads, int lock, struct cr_local_accelerators *out);

// One that ended at all is a failure that names whose it is ("silo anne") and its log.
enum cr_status cr_local_accelerators_check(struct cr_local_accelerators *accelerators, const char *whose);

// Ends those that still run.
void cr_local_accelerators_end(struct cr_local_accelerators *accelerators);

void cr_local_accelerators_release(struct cr_local_accelerators *accelerators);

#endif
