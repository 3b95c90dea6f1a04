#include "enclave/harden.h"

#include "base/file.h"
#include "base/secret.h"
#include "base/thread.h"
#include "enclave/confine.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

enum { FIRST_CLOSED = 4 };

static enum cr_status fix_descriptors(void)
{
    CR_TRY(cr_file_fill_standard());
    closefrom(FIRST_CLOSED);
    return CR_OK;
}

// Ignores that prctl is missing, as under Gramine: such a kernel cannot dump or trace a process for others
// either.
static enum cr_status set(int option, unsigned long value, const char *what)
{
    if (prctl(option, value, 0, 0, 0) == 0 || errno == ENOSYS) return CR_OK;
    return cr_fail_errno(CR_INTERNAL, "%s cannot be forbidden", what);
}

// Raises the limit as far as allowed. If that is not enough, whatever needs more reports it.
static void raise_limit(__rlimit_resource_t resource)
{
    struct rlimit limit;
    if (getrlimit(resource, &limit) != 0) return;
    limit.rlim_cur = limit.rlim_max;
    (void)setrlimit(resource, &limit);
}

enum cr_status cr_harden_process(void)
{
    struct rlimit none = {0, 0};
    if (setrlimit(RLIMIT_CORE, &none) != 0)
        return cr_fail_errno(CR_INTERNAL, "core dumps cannot be forbidden");
    CR_TRY(set(PR_SET_DUMPABLE, 0, "tracing"));
    CR_TRY(set(PR_SET_NO_NEW_PRIVS, 1, "new privileges"));
    if (clearenv() != 0) return cr_fail(CR_INTERNAL, "the environment cannot be cleared");
    raise_limit(RLIMIT_MEMLOCK);
    raise_limit(RLIMIT_NOFILE); // a server has a descriptor for each silo
    return fix_descriptors();
}

// The kind of pages that this system gives to secrets.
static enum cr_secret_kind kind_of_secrets(void)
{
    size_t before[CR_SECRET_KINDS], after[CR_SECRET_KINDS];
    void *probe;
    cr_secret_usage(before);
    if (cr_secret_allocate(1, 1, &probe) != CR_OK) return CR_SECRET_PLAIN;
    cr_secret_usage(after);
    enum cr_secret_kind kind = CR_SECRET_HIDDEN;
    while (before[kind] == after[kind]) kind++;
    cr_secret_free(&probe);
    return kind;
}

static void warn(const struct cr_event_sink *sink, const char *message)
{
    if (message) cr_event_send(sink, CR_EVENT_WARNING, "enclave.warning", message, NULL, 0);
}

static void tell(bool untraceable, const struct cr_confined *confined, const struct cr_event_sink *sink)
{
    static const char *const names[] = {"memfd_secret", "locked", "plain"};
    enum cr_secret_kind kind = kind_of_secrets();
    char message[256], landlock[32] = "";
    if (confined->landlock > 0) snprintf(landlock, sizeof landlock, ", Landlock ABI %d", confined->landlock);
    snprintf(message, sizeof message, "hardened: %ssecrets in %s pages%s%s",
             untraceable ? "no dumps, no tracing, " : "", names[kind], landlock,
             confined->seccomp ? ", seccomp" : "");
    cr_emit(sink, CR_EVENT_INFO, "enclave.hardened", message, CR_FIELD_TEXT("secrets", names[kind]),
            CR_FIELD("landlock", confined->landlock), CR_FIELD("seccomp", confined->seccomp));
    if (!untraceable)
        warn(sink,
             "this kernel has no prctl: it was not told to keep tracers and dumps off (an enclave's needs "
             "none)");
    if (kind == CR_SECRET_LOCKED)
        warn(sink, "this kernel has no memfd_secret: secrets are locked in memory, but root can read them in "
                   "/proc");
    warn(sink, confined->no_landlock);
    warn(sink, confined->no_seccomp);
}

enum cr_status cr_harden_role(const struct cr_policy *policy, const struct cr_event_sink *sink)
{
    struct cr_confined confined;
    // Both are asked and remembered now: a confined process can no longer ask.
    bool untraceable = prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) == 0;
    (void)cr_processors();
    CR_TRY(cr_confine(policy, &confined));
    tell(untraceable, &confined, sink);
    return CR_OK;
}
