// A folder of its own for a test program: made by make_directory, removed with all that is in it by
// remove_directory (group set-up and tear-down of cmocka).
#ifndef CARREL_TESTS_TEMPORARY_H
#define CARREL_TESTS_TEMPORARY_H

#include "folder_support.h"

static char directory[32];

static int make_directory(void **state)
{
    (void)state;
    make_folder(directory);
    return 0;
}

static int remove_directory(void **state)
{
    (void)state;
    remove_folder(directory);
    return 0;
}

// The path of a file in it, until the next call.
static const char *in_directory(const char *name)
{
    static char path[256];
    snprintf(path, sizeof path, "%s/%s", directory, name);
    return path;
}

#endif
