// Landlock (Linux 5.13): this process gives up access to every file that its policy does not name. Source:
// the kernel's Documentation/userspace-api/landlock.rst.
#ifndef CARREL_ENCLAVE_LANDLOCK_H
#define CARREL_ENCLAVE_LANDLOCK_H

#include "base/status.h"
#include "enclave/policy.h"

// From now on the calling thread, and threads that it starts, can open only what the policy names and the few
// files that libraries need. They cannot execute programs or trace outside processes. As far as the kernel's
// version supports it, they cannot signal outside processes, nor make TCP connections if the policy has no
// network. Files that are open stay open. Paths in the policy that do not exist are skipped. *abi is the
// version of Landlock in force; 0 means that the kernel has none, and nothing was given up. Needs
// no-new-privileges (enclave/harden.h). Cannot be undone.
enum cr_status cr_landlock_restrict(const struct cr_policy *policy, int *abi);

#endif
