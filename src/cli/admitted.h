// Who was admitted on what grounds, and who was refused: an audit log, told in short.
#ifndef CARREL_CLI_ADMITTED_H
#define CARREL_CLI_ADMITTED_H

#include "attestation/audit.h"
#include "base/event.h"
#include "cli/said.h"

// All appraisals of one peer's key that came out the same way.
struct cr_admitted {
    char *peer, *role, *type, *verdict, *grounds;
    unsigned char key[CR_SHA256_SIZE];
    int64_t first, last; // seconds since 1970
    uint64_t looks;      // appraisals: of connections and before rounds
};

// Zero-initialise it; release it.
struct cr_admissions {
    struct cr_admitted *items; // in the order of their first
    size_t count;
    struct cr_audit_end end;
};

// Reads a log and verifies its chain (attestation/audit.h).
enum cr_status cr_admissions_read(const char *path, struct cr_admissions *out);
void cr_admissions_release(struct cr_admissions *admissions);

// For `carrel simulate`: what the log of `by`, in `directory`, says, as events "simulate.admitted".
enum cr_status cr_admissions_tell(const char *directory, const char *by, const struct cr_event_sink *sink);

// For `carrel inspect`: what the log says.
enum cr_status cr_admissions_say(struct cr_said *said, const char *path);

#endif
