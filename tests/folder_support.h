// Folders that tests make and remove.
#ifndef CARREL_TESTS_FOLDER_SUPPORT_H
#define CARREL_TESTS_FOLDER_SUPPORT_H

#include "support.h"

#include <ftw.h>
#include <stdio.h>

// A new folder under /tmp; remove it with remove_folder.
static inline void make_folder(char path[32])
{
    strcpy(path, "/tmp/carrel-test-XXXXXX");
    assert_non_null(mkdtemp(path));
}

static inline int remove_entry(const char *path, const struct stat *status, int kind, struct FTW *place)
{
    (void)status;
    (void)kind;
    (void)place;
    return remove(path);
}

// With all that is in it.
static inline void remove_folder(const char *path)
{
    assert_int_equal(nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS), 0);
}

#endif
