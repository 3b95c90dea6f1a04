// Summaries of an audit log: who was admitted on what grounds, and who was refused.
#ifndef CARREL_CLI_ADMITTED_H
#define CARREL_CLI_ADMITTED_H

#include "base/event.h"
#include "cli/said.h"

// For `carrel simulate`: sends the content of the log of `by`, in `directory`, as events "simulate.admitted".
enum cr_status cr_admissions_tell(const char *directory, const char *by, const struct cr_event_sink *sink);

// For `carrel inspect`: describes the log, after verifying its chain (attestation/audit.h).
enum cr_status cr_admissions_say(struct cr_said *said, const char *path);

#endif
