// carrel-enclave: the trusted program. It runs one role; `carrel` starts it with the user's arguments. Exit
// codes: cr_exit_code.
#include "base/mapping.h"
#include "enclave/harden.h"
#include "enclave/role.h"

#include <stdio.h>
#include <string.h>

static const struct {
    const char *name;
    enum cr_status (*run)(int argc, char **argv);
} roles[] = {{"tune", cr_role_tune}, {"serve", cr_role_serve}, {"join", cr_role_join}};

enum { ROLES = sizeof roles / sizeof *roles };

static const char usage[] = "usage: carrel-enclave tune|serve|join ... (each has --help)";

static enum cr_status run(int argc, char **argv)
{
    CR_TRY(cr_harden_process());
    CR_TRY(cr_role_catch_signals());
    CR_TRY(cr_file_watch_mappings("carrel"));
    const char *name = argc > 1 ? argv[1] : "";
    for (size_t i = 0; i < ROLES; i++)
        if (strcmp(roles[i].name, name) == 0) return roles[i].run(argc - 1, argv + 1);
    if (strcmp(name, "--help") != 0 && strcmp(name, "-h") != 0) return cr_fail(CR_INVALID, "%s", usage);
    if (fprintf(stdout, "%s\n", usage) < 0 || fflush(stdout) != 0)
        return cr_fail_errno(CR_IO, "standard output");
    return CR_OK;
}

int main(int argc, char **argv)
{
    enum cr_status status = run(argc, argv);
    if (status != CR_OK) fprintf(stderr, "carrel: %s\n", cr_error_message());
    return cr_exit_code(status);
}
