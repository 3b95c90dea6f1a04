// What `carrel job show` and `carrel inspect` say of a job manifest: all of it.
#ifndef CARREL_CLI_SAY_MANIFEST_H
#define CARREL_CLI_SAY_MANIFEST_H

#include "cli/said.h"

// Of the file, signed or not.
enum cr_status cr_say_manifest(struct cr_said *said, const char *path);

#endif
