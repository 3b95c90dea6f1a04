// Who may write a run directory: one program at a time, and the programs that it started.
//
// Two locks of the kernel on one file. One belongs to the process and is there as long as it is: it tells
// whether the run is alive. The other belongs to the open file and so to the children as well, which for a
// moment outlive a parent that was killed: a next run waits for their end.
#ifndef CARREL_REPORT_RUN_LOCK_H
#define CARREL_REPORT_RUN_LOCK_H

#include "base/status.h"

#include <stdbool.h>

// Takes both. Held by another process: CR_INVALID at once. *fd is for the children to inherit (it is closed
// on exec unless that is undone), and stays open as long as the run.
enum cr_status cr_run_lock_take(const char *directory, int *fd);

// Whether a process holds it; takes nothing. A directory without a lock file is held by nobody.
enum cr_status cr_run_lock_is_held(const char *directory, bool *held);

#endif
