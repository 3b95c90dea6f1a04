// Locks a run directory for one program at a time and the child processes that it started.
//
// There are two kernel locks on one file. One belongs to the process, lasts as long as the process, and shows
// whether the run is alive. The other belongs to the open file, and so also to the children, which may
// outlive a killed parent for a moment: the next run waits for them to end.
#ifndef CARREL_REPORT_RUN_LOCK_H
#define CARREL_REPORT_RUN_LOCK_H

#include "base/status.h"

#include <stdbool.h>

// Takes both locks. CR_INVALID at once if another process holds the first. *fd is for the children to inherit
// (it is close-on-exec unless that is changed), and must stay open as long as the run.
enum cr_status cr_run_lock_take(const char *directory, int *fd);

// Whether a process holds the first lock; takes no lock. A directory without a lock file is not locked.
enum cr_status cr_run_lock_is_held(const char *directory, bool *held);

#endif
