// The roles of the trusted program; a process runs one of them.
#ifndef CARREL_ENCLAVE_ROLE_H
#define CARREL_ENCLAVE_ROLE_H

#include "base/status.h"

// Each parses its own command line (argv[0] is the role's name) and runs to the end. SIGINT, SIGTERM and
// SIGHUP stop it at the next step, with CR_CANCELLED.
enum cr_status cr_role_tune(int argc, char **argv);
enum cr_status cr_role_serve(int argc, char **argv);
enum cr_status cr_role_join(int argc, char **argv);

// Catches SIGINT, SIGTERM and SIGHUP. A second signal of the same kind, more than a second after the first,
// ends the process at once. Call it before any thread starts.
enum cr_status cr_role_catch_signals(void);

#endif
