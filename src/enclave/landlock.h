// Landlock (Linux 5.13): this process gives up every file but those of its policy. Source: the kernel's
// Documentation/userspace-api/landlock.rst.
#ifndef CARREL_ENCLAVE_LANDLOCK_H
#define CARREL_ENCLAVE_LANDLOCK_H

#include "base/status.h"
#include "enclave/policy.h"

// From here on the calling thread, and threads that it starts, open only what the policy names, and the few
// files that libraries want; they execute nothing, trace no process outside, and, as far as the kernel knows
// how, signal none, and make no TCP connection where the policy has no network. What is open stays open. A
// path that is not there is passed over. *abi is the version of Landlock in force; 0: this kernel has none,
// and nothing is given up. Needs no-new-privileges (enclave/harden.h); cannot be undone.
enum cr_status cr_landlock_restrict(const struct cr_policy *policy, int *abi);

#endif
