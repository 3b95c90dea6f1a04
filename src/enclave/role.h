// The roles that the trusted program can take; one process takes one.
#ifndef CARREL_ENCLAVE_ROLE_H
#define CARREL_ENCLAVE_ROLE_H

#include "base/status.h"

// Each reads its own command line (argv[0] is the role's name) and works to the end. SIGINT, SIGTERM and
// SIGHUP end it at the next step: CR_CANCELLED.
enum cr_status cr_role_tune(int argc, char **argv);
enum cr_status cr_role_serve(int argc, char **argv);
enum cr_status cr_role_join(int argc, char **argv);

// Catches SIGINT, SIGTERM and SIGHUP; a second one of its kind, more than a second after the first, ends the
// process at once. To be called before any thread starts.
enum cr_status cr_role_catch_signals(void);

#endif
