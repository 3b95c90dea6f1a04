// What the trusted process gives up, so that neither another process nor a bug of its own can leak a secret.
// None of it helps against root on a machine without a TEE (docs/THREAT-MODEL.md).
#ifndef CARREL_ENCLAVE_HARDEN_H
#define CARREL_ENCLAVE_HARDEN_H

#include "base/event.h"
#include "base/status.h"
#include "enclave/policy.h"

// Call it at the start of main, before anything is opened or read:
//   - no core dumps, no tracing or reading of memory by other processes of the same user, no new privileges
//     by execve;
//   - the whole environment, which the host controls, is cleared;
//   - descriptors 0 to 3 stay open (3 is the run directory's lock, if `carrel` is the parent), all others are
//     closed; if 0, 1 or 2 is closed, /dev/null is opened in its place, so that no other file gets its
//     number;
//   - the limits of locked memory and of open files are raised as far as allowed.
enum cr_status cr_harden_process(void);

// Call it once the role knows what it needs, before it opens any of that or starts a thread. Gives up all
// other files (enclave/landlock.h) and system calls (enclave/seccomp.h) for good. Then sends the event
// "enclave.hardened" with what is in force, and an "enclave.warning" for each protection that this machine
// lacks.
enum cr_status cr_harden_role(const struct cr_policy *policy, const struct cr_event_sink *sink);

#endif
