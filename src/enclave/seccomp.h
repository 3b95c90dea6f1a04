// seccomp: the system calls that the trusted program has no use for are taken from it.
//
// Three kinds. What the program and its libraries call is allowed, some of it for harmless arguments alone.
// What only somebody who has taken the process over would call (programs to start, other processes to read or
// trace, the kernel's settings, namespaces) ends the process at once, as does a call by another
// architecture's numbers. Anything else answers ENOSYS, or where an argument is at fault EPERM: a C library
// that is newer than we are asks for new calls first and takes the older ones where they are not there.
#ifndef CARREL_ENCLAVE_SECCOMP_H
#define CARREL_ENCLAVE_SECCOMP_H

#include "base/status.h"

#include <stdbool.h>

// Filters all threads of this process, those to come among them; sockets only with `network`. *in_force:
// false where the kernel has no filters. Needs no-new-privileges (enclave/harden.h); cannot be undone.
enum cr_status cr_seccomp_restrict(bool network, bool *in_force);

#endif
