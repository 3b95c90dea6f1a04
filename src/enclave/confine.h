// Takes away a role's access to files and system calls, once it knows which ones it needs.
#ifndef CARREL_ENCLAVE_CONFINE_H
#define CARREL_ENCLAVE_CONFINE_H

#include "base/status.h"
#include "enclave/policy.h"

struct cr_confined {
    int landlock; // version of Landlock in force; 0: files are not confined
    bool seccomp;
    const char *no_landlock, *no_seccomp; // why it is not in force; NULL if it is
};

// Confines this process for good; it must have only one thread. *out says what is in force and what the
// kernel lacks. A build with a sanitizer confines nothing, since sanitizers need many files and calls of
// their own.
enum cr_status cr_confine(const struct cr_policy *policy, struct cr_confined *out);

#endif
