#include "enclave/role.h"

#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>

enum cr_status cr_role_harden(void)
{
    struct rlimit none = {0, 0};
    if (setrlimit(RLIMIT_CORE, &none) != 0)
        return cr_fail_errno(CR_INTERNAL, "core dumps cannot be forbidden");
    if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0)
        return cr_fail_errno(CR_INTERNAL, "tracing cannot be forbidden");
    if (clearenv() != 0) return cr_fail(CR_INTERNAL, "the environment cannot be cleared");
    return CR_OK;
}
