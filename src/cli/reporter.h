// Where the events of a run go: to the person, and into the run directory.
#ifndef CARREL_CLI_REPORTER_H
#define CARREL_CLI_REPORTER_H

#include "federation/progress.h"
#include "report/run_dir.h"

struct cr_reporter {
    struct cr_progress progress;
    struct cr_run_dir *run;
};

// Opens the run directory that belongs to `of`, a result's directory or a silo's state. `json`: the person
// wants lines of JSON. On success cr_reporter_close must follow; the reporter must not move until then.
enum cr_status cr_reporter_open(struct cr_reporter *reporter, const char *command, bool json, const char *of);

// The sink keeps nothing that it is given. "client.job" gives the run directory its settings.
struct cr_event_sink cr_reporter_sink(struct cr_reporter *reporter);

// Notes how the run ended. Passes `status`, the work's, on; where the person could not be told of it, it is
// CR_IO instead.
enum cr_status cr_reporter_close(struct cr_reporter *reporter, enum cr_status status);

#endif
