// What a role of the trusted program may access: a table that the role fills in.
#ifndef CARREL_ENCLAVE_POLICY_H
#define CARREL_ENCLAVE_POLICY_H

#include <stdbool.h>
#include <stddef.h>

enum { CR_POLICY_PATHS = 16 };

struct cr_policy_path {
    const char *path; // file, or directory with everything below it; borrowed
    bool write;       // also make, replace and remove files and directories in it
};

// Zero-initialise it.
struct cr_policy {
    struct cr_policy_path paths[CR_POLICY_PATHS];
    size_t count;
    bool network; // sockets and name resolution
};

// A NULL path adds nothing. More than CR_POLICY_PATHS paths are a bug and abort.
void cr_policy_read(struct cr_policy *policy, const char *path);
void cr_policy_write(struct cr_policy *policy, const char *directory);

#endif
