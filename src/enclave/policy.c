#include "enclave/policy.h"

#include <stdlib.h>

static void add(struct cr_policy *policy, const char *path, bool write)
{
    if (!path) return;
    if (policy->count == CR_POLICY_PATHS) abort();
    policy->paths[policy->count++] = (struct cr_policy_path){path, write};
}

void cr_policy_read(struct cr_policy *policy, const char *path)
{
    add(policy, path, false);
}

void cr_policy_write(struct cr_policy *policy, const char *directory)
{
    add(policy, directory, true);
}
