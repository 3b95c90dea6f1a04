// Sends a run's events to the user and into the run directory.
#ifndef CARREL_CLI_REPORTER_H
#define CARREL_CLI_REPORTER_H

#include "federation/progress.h"
#include "report/run_dir.h"

struct cr_reporter {
    struct cr_progress progress;
    struct cr_run_dir *run;
};

// Opens the run directory for `of`, a result's directory or a silo's state. `json`: print JSON lines. After
// success cr_reporter_close must follow; the reporter must not be moved until then.
enum cr_status cr_reporter_open(struct cr_reporter *reporter, const char *command, bool json, const char *of);

// The sink keeps no pointers into events. The event "client.job" gives the run directory its settings.
struct cr_event_sink cr_reporter_sink(struct cr_reporter *reporter);

// Records how the run ended. Returns `status`, the work's result, or CR_IO if output to the user failed.
enum cr_status cr_reporter_close(struct cr_reporter *reporter, enum cr_status status);

#endif
