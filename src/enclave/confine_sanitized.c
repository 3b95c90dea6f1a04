// Replaces confine.c in builds with a sanitizer (CMakeLists.txt).
#include "enclave/confine.h"

enum cr_status cr_confine(const struct cr_policy *policy, struct cr_confined *out)
{
    (void)policy;
    *out = (struct cr_confined){.no_landlock = "this build has a sanitizer: files are not confined",
                                .no_seccomp = "this build has a sanitizer: system calls are not filtered"};
    return CR_OK;
}
