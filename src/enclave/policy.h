// What a role of the trusted program may reach once it works: a table that the role fills in.
#ifndef CARREL_ENCLAVE_POLICY_H
#define CARREL_ENCLAVE_POLICY_H

#include <stdbool.h>
#include <stddef.h>

enum { CR_POLICY_PATHS = 16 };

struct cr_policy_path {
    const char *path; // of a file, or of a directory with all below it; the caller's
    bool write;       // a directory in which files and directories are made, replaced and removed
};

// Zero-initialise it.
struct cr_policy {
    struct cr_policy_path paths[CR_POLICY_PATHS];
    size_t count;
    bool network; // sockets, and resolving names
};

// NULL is allowed and adds nothing; more paths than CR_POLICY_PATHS are a bug and abort.
void cr_policy_read(struct cr_policy *policy, const char *path);
void cr_policy_write(struct cr_policy *policy, const char *directory);

#endif
