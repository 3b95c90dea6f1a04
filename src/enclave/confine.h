// Files and system calls that a role gives up once it knows what it needs.
#ifndef CARREL_ENCLAVE_CONFINE_H
#define CARREL_ENCLAVE_CONFINE_H

#include "base/status.h"
#include "enclave/policy.h"

struct cr_confined {
    int landlock; // its version; 0: files are not confined
    bool seccomp;
    const char *no_landlock, *no_seccomp; // why not; NULL where it is in force
};

// Confines this process, which has one thread yet, for good. What the kernel has not is told in *out. A build
// with a sanitizer confines nothing, since the sanitizer's own files and calls are many.
enum cr_status cr_confine(const struct cr_policy *policy, struct cr_confined *out);

#endif
