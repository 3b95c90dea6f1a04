// What the trusted process gives up, so that neither another process nor a fault of its own gives a secret
// away. Against root of a machine without a TEE none of it helps (docs/THREAT-MODEL.md).
#ifndef CARREL_ENCLAVE_HARDEN_H
#define CARREL_ENCLAVE_HARDEN_H

#include "base/event.h"
#include "base/status.h"
#include "enclave/policy.h"

// At the start of main, before anything is opened or read:
// - no core dumps; no tracing, and no reading of its memory, by other processes of its user; no privileges
//   by executing;
// - the environment, which is the host's, is forgotten, all of it;
// - descriptors 0, 1, 2 and 3 stay (3 is the run directory's lock, where `carrel` is the parent), all others
//   are closed; where one of the first three is closed, /dev/null takes its place, so that no file does;
// - as much memory may be locked as its limit can be raised to.
enum cr_status cr_harden_process(void);

// Once the role knows what it needs, and before it opens any of it or starts a thread: gives up all other
// files (enclave/landlock.h) and system calls (enclave/seccomp.h), for good. Then says what is in force: one
// "enclave.hardened", and an "enclave.warning" for each protection that this machine has not.
enum cr_status cr_harden_role(const struct cr_policy *policy, const struct cr_event_sink *sink);

#endif
