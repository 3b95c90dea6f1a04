// Who was admitted on what grounds, and who was refused: an audit log, told in short.
#ifndef CARREL_CLI_ADMITTED_H
#define CARREL_CLI_ADMITTED_H

#include "base/event.h"
#include "cli/said.h"

// For `carrel simulate`: what the log of `by`, in `directory`, says, as events "simulate.admitted".
enum cr_status cr_admissions_tell(const char *directory, const char *by, const struct cr_event_sink *sink);

// For `carrel inspect`: what the log says, whose chain is verified (attestation/audit.h).
enum cr_status cr_admissions_say(struct cr_said *said, const char *path);

#endif
