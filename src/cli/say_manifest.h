// The output of `carrel job show` and `carrel inspect` for a job manifest.
#ifndef CARREL_CLI_SAY_MANIFEST_H
#define CARREL_CLI_SAY_MANIFEST_H

#include "cli/said.h"

// Describes the job in a file, signed or not.
enum cr_status cr_say_manifest(struct cr_said *said, const char *path);

#endif
