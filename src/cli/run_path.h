// Finds the run directory that a user means.
#ifndef CARREL_CLI_RUN_PATH_H
#define CARREL_CLI_RUN_PATH_H

#include "base/status.h"

// `argument`: a run directory; the result's or state's directory to which it belongs; a file of settings; or
// NULL, if the working directory contains exactly one. Sets *out to its path; free with free. CR_NOT_FOUND if
// there is none.
enum cr_status cr_run_path_find(const char *argument, char **out);

#endif
