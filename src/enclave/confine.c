#include "enclave/confine.h"

#include "enclave/landlock.h"
#include "enclave/seccomp.h"

enum cr_status cr_confine(const struct cr_policy *policy, struct cr_confined *out)
{
    struct cr_confined done = {0};
    CR_TRY(cr_landlock_restrict(policy, &done.landlock));
    CR_TRY(cr_seccomp_restrict(policy->network, &done.seccomp));
    if (done.landlock == 0)
        done.no_landlock = "this kernel has no Landlock: this process may open all files of its user";
    if (!done.seccomp) done.no_seccomp = "this kernel filters no system calls: this process may make any";
    *out = done;
    return CR_OK;
}
