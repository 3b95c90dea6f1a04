// Which run directory a person means.
#ifndef CARREL_CLI_RUN_PATH_H
#define CARREL_CLI_RUN_PATH_H

#include "base/status.h"

// `argument`: a run directory; the directory of a result or of a silo's state that it belongs to; a file of
// settings; or NULL, where the working directory must hold exactly one. Sets *out to its path; free with
// free. CR_NOT_FOUND where there is none.
enum cr_status cr_run_path_find(const char *argument, char **out);

#endif
