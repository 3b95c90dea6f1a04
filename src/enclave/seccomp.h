// seccomp: takes away the system calls that the trusted program does not use.
//
// There are three kinds. Calls that the program and its libraries make are allowed, some only with harmless
// arguments. Calls that only somebody who has taken over the process would make (starting programs, reading
// or tracing other processes, changing the kernel's settings, namespaces) kill the process, as does any call
// by another architecture's numbers. Any other call answers ENOSYS, or EPERM if an argument is not allowed: a
// newer C library tries new calls first, and falls back to older ones if those are missing.
#ifndef CARREL_ENCLAVE_SECCOMP_H
#define CARREL_ENCLAVE_SECCOMP_H

#include "base/status.h"

#include <stdbool.h>

// Filters all present and future threads of this process; sockets are allowed only with `network`. *in_force
// is false if the kernel has no seccomp filters. Needs no-new-privileges (enclave/harden.h). Cannot be
// undone.
enum cr_status cr_seccomp_restrict(bool network, bool *in_force);

#endif
