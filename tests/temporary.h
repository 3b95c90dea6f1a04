// A folder of its own for a test program: made by make_directory, removed with all that is in it by
// remove_directory (group set-up and tear-down of cmocka).
#ifndef CARREL_TESTS_TEMPORARY_H
#define CARREL_TESTS_TEMPORARY_H

#include "support.h"

#include <stdio.h>

static char directory[] = "/tmp/carrel-test-XXXXXX";

static int make_directory(void **state)
{
    (void)state;
    return mkdtemp(directory) ? 0 : -1;
}

static int remove_directory(void **state)
{
    (void)state;
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", directory);
    return system(command);
}

// The path of a file in it, until the next call.
static const char *in_directory(const char *name)
{
    static char path[256];
    snprintf(path, sizeof path, "%s/%s", directory, name);
    return path;
}

#endif
